/** Numbers and sizes as people read them. */

/** Bytes in the binary unit that leaves at least one digit before the point, such as `2.4 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return unit === 0 ? `${Math.round(bytes)} B` : `${(bytes / 1024 ** unit).toFixed(1)} ${units[unit]!}`;
}

/** Seconds with one digit below a minute, else minutes and seconds, such as `2 min 05 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

/** A fixed number of significant digits without exponents for the sizes seen here, such as `0.0712`. */
export function formatSmall(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 0.0001 ? value.toExponential(1) : value.toFixed(4);
}

/** With its sign, such as `+1.62`. */
export function formatChange(value: number): string {
  return `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(3)}`;
}

/** A share of one as a percentage, such as `91.3%`. */
export function formatShare(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

/** A number in the given way, or a dash where there is none. */
export function formatOptional(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? "-" : format(value);
}
