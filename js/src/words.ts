// Numbers and times as a person reads them.

const thin = "\u2009";

/** 1 204 331 */
export function count(n: number): string {
  return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, thin);
}

/** 182k, 1.2M */
export function short(n: number): string {
  if (n >= 1e6) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)}M`;
  if (n >= 1e4) return `${Math.round(n / 1e3)}k`;
  if (n >= 1e3) return `${(n / 1e3).toFixed(1)}k`;
  return String(Math.round(n));
}

/** Three figures that matter. */
export function value(x: number): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? x.toExponential(1) : size >= 100 ? x.toFixed(0) : size >= 10 ? x.toFixed(1) : x.toFixed(3);
  return text.replace("-", "−");
}

export function percent(share: number): string {
  const x = 100 * share;
  return `${x === 0 || x >= 9.95 ? x.toFixed(0) : x >= 0.95 ? String(Number(x.toFixed(1))) : String(Number(x.toPrecision(1)))}${thin}%`;
}

export function pValue(p: number | null): string {
  if (p === null || Number.isNaN(p)) return "p unknown";
  return p < 0.001 ? "p < 0.001" : `p ${Number(p.toPrecision(2))}`;
}

/** 12:04 today, 20 Nov 12:04 before; text that is no date stays as it came. */
export function when(text: string): string {
  const date = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT/.test(text) || Number.isNaN(date.getTime())) return text;
  const time = `${date.getHours()}:${String(date.getMinutes()).padStart(2, "0")}`;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.getDate()} ${date.toLocaleString("en", { month: "short" })} ${time}`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A name of 10,000 characters is cut for drawing; its element's title has it whole. */
export function brief(name: string, longest = 28): string {
  const chars = [...name.slice(0, 2 * longest + 2)];
  return chars.length > longest ? `${chars.slice(0, longest - 1).join("")}…` : name;
}
