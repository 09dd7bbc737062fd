"""The obvious way to calculate features: one instrument after the other with pandas' rolling and ewm.

Lives here: the alternative that benchmarks/features.py measures, a second implementation of most metrics. Not here: the
calculator (domain/market/features). Seeds of exponential averages are pandas' own (the first value), so that those
metrics differ from ours at the beginning; everything else agrees to rounding, which the benchmark checks.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

SEEDED = ("ema_", "macd", "rsi_", "adx_", "plus_di", "minus_di", "atr_", "psar", "ewma_", "keltner", "is_squeeze")
"""Metrics whose beginning depends on a seed."""


def features_of(bars: pd.DataFrame, periods: float) -> pd.DataFrame:
    """Metrics of one instrument by name; `bars`: open, high, low, close, volume, dollar_volume, benchmark_close."""
    parts: Iterable[dict[str, pd.Series]] = (
        _trend(bars),
        _momentum(bars),
        _volatility(bars, periods),
        _volume(bars),
        _returns(bars),
        _risk(bars, periods),
        _beside(bars),
    )
    return pd.DataFrame({name: column for part in parts for name, column in part.items()})


def _ema(x: "pd.Series[float]", n: int) -> "pd.Series[float]":
    return x.ewm(span=n, adjust=False, min_periods=n).mean()


def _wilder(x: "pd.Series[float]", n: int) -> "pd.Series[float]":
    return x.ewm(alpha=1 / n, adjust=False, min_periods=n).mean()


def _true_range(bars: pd.DataFrame) -> "pd.Series[float]":
    before = bars["close"].shift()
    return pd.concat(
        [bars["high"] - bars["low"], (bars["high"] - before).abs(), (bars["low"] - before).abs()], axis=1
    ).max(axis=1)


def _trend(bars: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    close, high, low = bars["close"], bars["high"], bars["low"]
    found = {}
    for n in (5, 10, 20, 50, 100, 200):
        average = close.rolling(n).mean()
        found |= {f"sma_{n}": average, f"ma_distance_{n}": close / average - 1}
        slope = average.rolling(5).apply(lambda y: np.polyfit(np.arange(5), y, 1)[0], raw=True)
        found[f"sma_{n}_slope_5"] = slope / average
    found |= {f"ema_{n}": _ema(close, n) for n in (12, 20, 26, 50, 200)}
    macd = found["ema_12"] - found["ema_26"]
    signal = macd.ewm(span=9, adjust=False, min_periods=9).mean()
    found |= {"macd": macd, "macd_signal": signal, "macd_histogram": macd - signal}
    up, down = high.diff(), -low.diff()
    reach = _wilder(_true_range(bars), 14)
    plus = 100 * _wilder(up.where((up > down) & (up > 0), 0.0), 14) / reach
    minus = 100 * _wilder(down.where((down > up) & (down > 0), 0.0), 14) / reach
    index = 100 * (plus - minus).abs() / (plus + minus)
    found |= {"plus_di_14": plus, "minus_di_14": minus, "adx_14": _wilder(index, 14), "psar": _psar(bars)}
    found["aroon_up_25"] = high.rolling(26).apply(lambda y: 100 * (25 - np.argmax(y[::-1])) / 25, raw=True)
    found["aroon_down_25"] = low.rolling(26).apply(lambda y: 100 * (25 - np.argmin(y[::-1])) / 25, raw=True)
    found["aroon_oscillator_25"] = found["aroon_up_25"] - found["aroon_down_25"]
    found |= {f"donchian_high_{n}": high.rolling(n).max() for n in (20, 55)}
    found |= {f"donchian_low_{n}": low.rolling(n).min() for n in (10, 20)}
    found |= {f"high_{n}": high.shift().rolling(n).max() for n in (20, 55)}
    found |= {f"low_{n}": low.shift().rolling(n).min() for n in (10, 20)}
    return found


def _psar(bars: pd.DataFrame) -> "pd.Series[float]":
    high, low = bars["high"].to_numpy(), bars["low"].to_numpy()
    found = np.full(len(high), np.nan)
    is_long, factor, extreme, stop = True, 0.02, high[0], low[0]
    for row in range(1, len(high)):
        stop += factor * (extreme - stop)
        if is_long:
            stop = min(stop, low[row - 1], low[max(row - 2, 0)])
            is_turned = low[row] < stop
        else:
            stop = max(stop, high[row - 1], high[max(row - 2, 0)])
            is_turned = high[row] > stop
        if is_turned:
            is_long, stop, factor = not is_long, extreme, 0.02
            extreme = high[row] if is_long else low[row]
        elif (is_long and high[row] > extreme) or (not is_long and low[row] < extreme):
            extreme, factor = (high[row] if is_long else low[row]), min(factor + 0.02, 0.2)
        found[row] = stop
    return pd.Series(found, index=bars.index)


def _momentum(bars: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    close, high, low = bars["close"], bars["high"], bars["low"]
    change, found = close.diff(), {}
    for n in (14, 21):
        gain, loss = _wilder(change.clip(lower=0), n), _wilder(-change.clip(upper=0), n)
        found[f"rsi_{n}"] = 100 * gain / (gain + loss)
    top, bottom = high.rolling(14).max(), low.rolling(14).min()
    found["stochastic_k_14"] = 100 * (close - bottom) / (top - bottom)
    found["stochastic_d_14_3"] = found["stochastic_k_14"].rolling(3).mean()
    found["williams_r_14"] = -100 * (top - close) / (top - bottom)
    typical = (high + low + close) / 3
    spread = typical.rolling(20).apply(lambda y: np.abs(y - y.mean()).mean(), raw=True)
    found["cci_20"] = (typical - typical.rolling(20).mean()) / (0.015 * spread)
    for n in (5, 10, 20, 63):
        found[f"roc_{n}"] = close / close.shift(n) - 1
        found[f"roc_{n}_change"] = found[f"roc_{n}"].diff()
    flow, moved = typical * bars["volume"], typical.diff()
    rising = flow.where(moved > 0, 0.0).where(moved.notna()).rolling(14).sum()
    falling = flow.where(moved < 0, 0.0).where(moved.notna()).rolling(14).sum()
    found["mfi_14"] = 100 * rising / (rising + falling)
    for name, values in (("return_z_63", np.log(close / close.shift())), ("roc_z_63", found["roc_20"])):
        found[name] = (values - values.rolling(63).mean()) / values.rolling(63).std()
    return found


def _volatility(bars: pd.DataFrame, periods: float) -> dict[str, "pd.Series[float]"]:
    close, high, low, opened = bars["close"], bars["high"], bars["low"], bars["open"]
    found = {}
    middle, deviation = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    lower, upper = middle - 2 * deviation, middle + 2 * deviation
    found |= {"bollinger_lower_20": lower, "bollinger_middle_20": middle, "bollinger_upper_20": upper}
    found["bollinger_width_20"] = (upper - lower) / middle
    found["bollinger_percent_b_20"] = (close - lower) / (upper - lower)
    found["bollinger_width_rank_252"] = found["bollinger_width_20"].rolling(252).rank(method="max", pct=True)
    found["atr_14"] = _wilder(_true_range(bars), 14)
    found["atr_percent_14"] = found["atr_14"] / close
    centre = _ema(close, 20)
    for name, k in (("1_5", 1.5), ("2", 2.0)):
        found[f"keltner_lower_20_{name}"] = centre - k * found["atr_14"]
        found[f"keltner_upper_20_{name}"] = centre + k * found["atr_14"]
    on = (lower > found["keltner_lower_20_1_5"]) & (upper < found["keltner_upper_20_1_5"])
    found |= {
        "is_squeeze_on": on.astype(float),
        "is_squeeze_released": (on.shift(fill_value=False) & ~on).astype(float),
    }
    logs = np.log(close / close.shift())
    found |= {f"realised_vol_{n}": logs.rolling(n).std() * np.sqrt(periods) for n in (10, 20, 60, 252)}
    found["vol_of_vol_60"] = found["realised_vol_20"].rolling(60).std()
    found["ewma_vol_94"] = np.sqrt((logs**2).ewm(alpha=0.06, adjust=False).mean() * periods)
    span, body = np.log(high / low) ** 2, np.log(close / opened) ** 2
    found["parkinson_20"] = np.sqrt(span.rolling(20).mean() / (4 * np.log(2)) * periods)
    inner = (0.5 * span - (2 * np.log(2) - 1) * body).rolling(20).mean()
    found["garman_klass_20"] = np.sqrt(inner * periods)
    night, day = np.log(opened / close.shift()), np.log(close / opened)
    satchell = np.log(high / close) * np.log(high / opened) + np.log(low / close) * np.log(low / opened)
    k = 0.34 / (1.34 + 21 / 19)
    mixed = night.rolling(20).var() + k * day.rolling(20).var() + (1 - k) * satchell.rolling(20).mean()
    found["yang_zhang_20"] = np.sqrt(mixed * periods)
    return found


def _volume(bars: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    close, high, low, volume = bars["close"], bars["high"], bars["low"], bars["volume"]
    signed = np.sign(close.diff()).fillna(0) * volume
    balance = signed.cumsum() + volume.iloc[0]
    flow = ((close - low) - (high - close)) / (high - low) * volume
    return {
        "obv": balance,
        "accumulation_distribution": flow.cumsum(),
        "cmf_20": flow.rolling(20).sum() / volume.rolling(20).sum(),
        "volume_sma_20": volume.rolling(20).mean(),
        "volume_sma_50": volume.rolling(50).mean(),
        "relative_volume_20": volume / volume.rolling(20).mean(),
        "vwap_20": ((high + low + close) / 3 * volume).rolling(20).sum() / volume.rolling(20).sum(),
        "volume_z_60": (volume - volume.rolling(60).mean()) / volume.rolling(60).std(),
    }


def _returns(bars: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    close, found = bars["close"], {}
    for n in (1, 5, 20, 21, 60, 63, 252):
        found |= {f"return_{n}": close / close.shift(n) - 1, f"log_return_{n}": np.log(close / close.shift(n))}
    for n in (20, 63, 252):
        found[f"drawdown_{n}"] = close / close.rolling(n).max() - 1
    found["gap"] = bars["open"] / close.shift() - 1
    found |= {f"log_return_1_lag_{k}": found["log_return_1"].shift(k) for k in (1, 2, 3, 5, 10)}
    return found


def _risk(bars: pd.DataFrame, periods: float) -> dict[str, "pd.Series[float]"]:
    daily = bars["close"].pct_change(fill_method=None)
    window = daily.rolling(252)
    found = {
        "cvar_95_252": window.apply(lambda y: -np.sort(y)[:13].mean(), raw=True),
        "cvar_99_252": window.apply(lambda y: -np.sort(y)[:3].mean(), raw=True),
        "var_95_252": -window.quantile(12 / 251),
        "var_99_252": -window.quantile(2 / 251),
        "downside_deviation_252": window.apply(lambda y: np.sqrt((np.minimum(y, 0) ** 2).mean() * periods), raw=True),
        "sharpe_252": window.mean() / window.std() * np.sqrt(periods),
    }
    found["sortino_252"] = window.mean() * periods / found["downside_deviation_252"]
    close = bars["close"]
    fall = close.rolling(253).apply(lambda y: (1 - y / np.maximum.accumulate(y)).max(), raw=True)
    found["calmar_252"] = ((close / close.shift(252)) ** (periods / 252) - 1) / fall
    falls = close.rolling(252).apply(lambda y: np.sqrt(((1 - y / np.maximum.accumulate(y)) ** 2).mean()), raw=True)
    found["ulcer_index_252"] = falls
    return found


def _beside(bars: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    own, other = (np.log(bars[name] / bars[name].shift()) for name in ("close", "benchmark_close"))
    found = {}
    for n in (60, 252):
        found[f"correlation_{n}"] = own.rolling(n).corr(other)
        found[f"beta_{n}"] = own.rolling(n).cov(other) / other.rolling(n).var()
    for n in (20, 63, 252):
        ratio = (bars["close"] / bars["close"].shift(n)) / (bars["benchmark_close"] / bars["benchmark_close"].shift(n))
        found[f"relative_strength_{n}"] = ratio - 1
    return found
