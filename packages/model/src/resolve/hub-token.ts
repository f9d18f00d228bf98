/** The user's token for models that need permission. */

/** HF_TOKEN, when set; it is sent to the hub only. */
export function hubToken(): string | undefined {
  return process.env["HF_TOKEN"] || undefined;
}
