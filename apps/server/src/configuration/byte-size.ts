/** Sizes in bytes as people write them. */

const units: Readonly<Record<string, number>> = { "": 1, b: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 };

/** Bytes of a number or of a text such as `512 MiB`, at least 1; undefined for anything else. */
export function parseBytes(value: string | number): number | undefined {
  const bytes = typeof value === "number" ? value : readSize(value);
  return bytes !== undefined && Number.isSafeInteger(bytes) && bytes >= 1 ? bytes : undefined;
}

function readSize(text: string): number | undefined {
  const [, number, unit = ""] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const name = unit.toLowerCase();
  return number === undefined || !Object.hasOwn(units, name) ? undefined : Math.floor(Number(number) * units[name]!);
}
