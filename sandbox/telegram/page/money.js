// Amounts come in the smallest units of their currency; Stars (XTR) are whole.

export const STAR = "\u2B50\uFE0E";

export function stars(count) { return `${STAR} ${count.toLocaleString("en-GB")}`; }

export function price(amount, currency) {
  if (currency === "XTR") return stars(amount);
  const format = new Intl.NumberFormat("en-GB", { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

export function bytes(count) {
  if (count === undefined) return "";
  if (count < 1024) return `${count} B`;
  return count < 1024 * 1024 ? `${(count / 1024).toFixed(1)} KB` : `${(count / 1024 / 1024).toFixed(1)} MB`;
}
