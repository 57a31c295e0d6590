// Prices as texts. Knows nothing of the page.

// Digits behind the point of the shortest exact text of a number: 5 for 1e-5.
export function decimals(value) {
  const [mantissa, exponent = "0"] = String(value).split("e");
  return Math.min(20, Math.max(0, (mantissa.split(".")[1] ?? "").length - Number(exponent)));
}

// A price with the digits of its instrument and some more; null or undefined digits show those that it has.
export function price(value, digits = null, more = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const places = digits === null || digits === undefined ? decimals(value) : digits + more;
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}

// The digits that a page was given: empty where the tick of the instrument is not known.
export const digitsIn = (text) => (text === "" || text === undefined ? null : Number(text));
