// Figures as people read them.

export function bytes(value) {
  if (value === undefined || value === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let size = value;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0)} ${units[unit]}`;
}

export function seconds(value) {
  if (value === undefined || value === null) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return value < 100 ? `${value.toFixed(value < 10 ? 2 : 1)} s` : `${Math.round(value)} s`;
}

export function count(value) {
  return value === undefined || value === null ? "–" : Math.round(value).toLocaleString("en");
}

export function rate(value) {
  return value === undefined || value === null || !Number.isFinite(value) ? "–" : value === 0 ? "0" : value.toFixed(value < 100 ? 1 : 0);
}

export function percent(value) {
  return value === undefined || value === null || !Number.isFinite(value) ? "–" : `${Number((100 * value).toFixed(1))} %`;
}

/** KL divergence in nats. */
export function divergence(value) {
  if (value === undefined || value === null) return "–";
  return value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : value.toFixed(4);
}
