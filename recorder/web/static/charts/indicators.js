// The 13 indicators: which columns they have, in which pane they are drawn, and how.

const line = (column, label, shade) => ({ column, label, shade, kind: "line" });

export const INDICATORS = [
  { key: "sma", label: "SMA 20, 50", pane: "price", lines: [line("sma_20", "SMA 20", 1), line("sma_50", "SMA 50", 2)] },
  { key: "sma_long", label: "SMA 100, 200", pane: "price", lines: [line("sma_100", "SMA 100", 3), line("sma_200", "SMA 200", 4)] },
  { key: "ema", label: "EMA 12, 26, 50", pane: "price", lines: [line("ema_12", "EMA 12", 5), line("ema_26", "EMA 26", 6), line("ema_50", "EMA 50", 1)] },
  { key: "bb", label: "Bollinger 20, 2", pane: "price", lines: [line("bb_upper", "BB upper", 2), line("bb_middle", "BB middle", 6), line("bb_lower", "BB lower", 2)] },
  { key: "vwap", label: "VWAP of the day", pane: "price", lines: [line("vwap", "VWAP", 3)] },
  { key: "volume_sma", label: "Volume SMA 20", pane: "volume", lines: [line("volume_sma_20", "SMA 20", 1)] },
  { key: "rsi", label: "RSI 14", pane: "rsi", guides: [30, 70], lines: [line("rsi_14", "RSI 14", 1)] },
  { key: "macd", label: "MACD 12, 26, 9", pane: "macd", guides: [0], lines: [{ column: "macd_hist", label: "Histogram", shade: 6, kind: "bars" }, line("macd", "MACD", 1), line("macd_signal", "Signal", 2)] },
  { key: "stoch", label: "Stochastic 14, 3, 3", pane: "stoch", guides: [20, 80], lines: [line("stoch_k", "%K", 1), line("stoch_d", "%D", 2)] },
  { key: "atr", label: "ATR 14", pane: "atr", lines: [line("atr_14", "ATR 14", 1)] },
  { key: "adx", label: "ADX 14", pane: "adx", guides: [25], lines: [line("adx_14", "ADX", 1), line("plus_di_14", "+DI", 3), line("minus_di_14", "−DI", 4)] },
  { key: "mfi", label: "MFI 14", pane: "mfi", guides: [20, 80], lines: [line("mfi_14", "MFI 14", 1)] },
  { key: "obv", label: "OBV", pane: "obv", lines: [line("obv", "OBV", 1)] },
];

export const PRESETS = {
  plain: [],
  trend: ["sma", "sma_long", "ema"],
  bands: ["bb", "rsi"],
  momentum: ["rsi", "macd", "stoch"],
  volume: ["vwap", "volume_sma", "obv", "mfi"],
  volatility: ["bb", "atr", "adx"],
};

export const byKey = new Map(INDICATORS.map((one) => [one.key, one]));

// The known keys of a text such as "rsi,macd", each once, in the order of the list.
export function chosen(text) {
  const wanted = new Set((text || "").split(","));
  return INDICATORS.filter((one) => wanted.has(one.key)).map((one) => one.key);
}

export function columnsOf(keys) {
  return keys.flatMap((key) => byKey.get(key).lines.map((one) => one.column));
}

// The name of the preset that has just these keys; "own" for any other choice.
export function presetOf(keys) {
  const text = [...keys].sort().join();
  return Object.keys(PRESETS).find((name) => [...PRESETS[name]].sort().join() === text) || "own";
}
