"""Answers as the vendors' documentation spells them (vendors.md), to be changed by the tests that read them."""

import copy
from typing import Any

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
DAI = "0x6b175474e89094c44da98b954eedeac495271d0f"
WALLET = "0x" + "a1" * 20
OTHER = "0x" + "b2" * 20
VAULT = "0x" + "c3" * 20
ZERO = "0x" + "00" * 20


def tx(number: int) -> str:
    """A transaction hash made of its number."""
    return f"0x{number:064x}"


_POOL = {
    "chain": "Ethereum",
    "project": "maple",
    "symbol": "USDC",
    "tvlUsd": 2876602286,
    "apyBase": 7.36,
    "apyReward": None,
    "apy": 7.3656,
    "rewardTokens": None,
    "pool": "43641cf5-a92e-416b-bce9-27113d3c0db6",
    "apyPct1D": 0.1,
    "stablecoin": True,
    "ilRisk": "no",
    "exposure": "single",
    "predictions": {"predictedClass": "Stable/Up", "predictedProbability": 72, "binnedConfidence": 2},
    "poolMeta": None,
    "underlyingTokens": ["0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"],
    "il7d": None,
}
_SAMPLES: dict[str, Any] = {
    "pools": {
        "status": "success",
        "data": [
            _POOL,
            {
                **_POOL,
                "pool": "0a-pair",
                "symbol": "DAI-USDC",
                "exposure": "multi",
                "stablecoin": None,
                "underlyingTokens": [DAI, USDC],
                "rewardTokens": [None, DAI],
                "poolMeta": "0.05%",
                "tvlUsd": "1200.5",
                "apy": "-1.5",
                "timestamp": "2025-10-24T00:01:00.000Z",
            },
        ],
    },
    "lend_borrow": [
        {
            "pool": "43641cf5-a92e-416b-bce9-27113d3c0db6",
            "apyBaseBorrow": 5.5,
            "apyRewardBorrow": None,
            "totalSupplyUsd": 10_000_000,
            "totalBorrowUsd": 6_000_000.5,
            "ltv": 0.8,
        }
    ],
    "chart": {
        "status": "success",
        "data": [
            {
                "timestamp": "2025-10-22T23:01:52.000Z",
                "tvlUsd": 2870000000,
                "apy": 7.35,
                "apyBase": 7.35,
                "apyReward": None,
                "il7d": None,
                "apyBase7d": None,
            },
            {
                "timestamp": "2025-10-23T23:01:52.000Z",
                "tvlUsd": None,
                "apy": 7.0,
                "apyBase": 6.0,
                "apyReward": 1.0,
                "il7d": 0.5,
                "apyBase7d": None,
            },
        ],
    },
    "chart_lend_borrow": {
        "status": "success",
        "data": [
            {
                "timestamp": "2025-10-22T23:01:52.000Z",
                "totalSupplyUsd": 10_000_000,
                "totalBorrowUsd": 6_000_000.5,
                "debtCeilingUsd": None,
                "apyBase": 4.0,
                "apyReward": None,
                "apyBaseBorrow": 5.5,
                "apyRewardBorrow": None,
            },
            {
                "timestamp": "2025-10-23T23:01:52.000Z",
                "totalSupplyUsd": None,
                "totalBorrowUsd": None,
                "debtCeilingUsd": 1e9,
                "apyBase": "4.5",
                "apyReward": 1.0,
                "apyBaseBorrow": 6.0,
                "apyRewardBorrow": 0.5,
            },
        ],
    },
    "coin_markets": [
        {
            "id": "usd-coin",
            "symbol": "usdc",
            "name": "USDC",
            "current_price": 0.9998,
            "market_cap": 60_000_000_000,
            "market_cap_rank": 7,
            "fully_diluted_valuation": 60_000_000_000,
            "total_volume": 5_000_000_000.5,
            "high_24h": 1.001,
            "low_24h": 0.999,
            "circulating_supply": 60_012_000_000.5,
            "total_supply": 60_020_000_000,
            "max_supply": None,
            "last_updated": "2025-10-24T00:30:01.123Z",
        },
        {
            "id": "gho",
            "symbol": "gho",
            "name": "GHO",
            "current_price": 0.9996,
            "market_cap": 0,
            "total_volume": 0,
            "circulating_supply": 0.0,
            "total_supply": None,
            "max_supply": 100_000_000,
            "market_cap_rank": None,
            "high_24h": None,
            "low_24h": None,
            "last_updated": None,
        },
    ],
    "candles": [
        [1761192000000, 1.0, 1.002, 0.999, 1.001],
        [1761206400000, 1.001, 1.001, 0.98, 0.99],
        [1761220800000, 0.99, 1, 0.99, 1],
        [1761235200000, 1, 1.01, 1, 1.005],
        [1761249600000, 1.005, 1.005, 1.0, 1.0],
        [1761264000000, 1.0, 1.0, 0.9995, 0.9996],
    ],
    "daily_chart": {
        "prices": [[1761177600000, 1.0], [1761264000000, 0.9996], [1761265800000, 0.9997]],
        "market_caps": [[1761177600000, 0], [1761264000000, 3.1e8], [1761265800000, 3.2e8]],
        "total_volumes": [[1761177600000, 1.1e6], [1761264000000, 1.2e6], [1761265800000, 1.3e6]],
    },
    "block": {"jsonrpc": "2.0", "id": 1, "result": {"number": "0x7d0", "timestamp": "0x68fac300", "hash": tx(9)}},
    "call": {"jsonrpc": "2.0", "id": 1, "result": "0x" + f"{4_007_000_000:064x}"},
    "fee_history": {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "oldestBlock": "0x7d0",
            "baseFeePerGas": ["0x3b9aca00", "0x77359400", "0xb2d05e00"],
            "gasUsedRatio": [0.5, 0.9],
            "reward": [["0x0", "0x5f5e100", "0x3b9aca00"], ["0x1", "0xbebc200", "0x77359400"]],
        },
    },
    "pendle": {
        "markets": [
            {
                "name": "USDe",
                "address": VAULT,
                "expiry": "2026-03-26T00:00:00.000Z",
                "pt": f"1-{OTHER}",
                "yt": f"1-{WALLET}",
                "sy": f"1-{DAI}",
                "underlyingAsset": "1-0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            }
        ]
    },
    "pendle_page": {
        "total": 1,
        "limit": 100,
        "skip": 0,
        "results": [
            {
                "name": "USDe",
                "address": VAULT,
                "expiry": "2026-03-26T00:00:00.000Z",
                "pt": f"1-{OTHER}",
                "yt": f"1-{WALLET}",
                "sy": f"1-{DAI}",
                "underlyingAsset": f"1-{USDC}",
                "chainId": 1,
            }
        ],
    },
    "closes": {
        "coins": {
            f"ethereum:{USDC}": {
                "symbol": "USDC",
                "confidence": 0.99,
                "decimals": 6,
                "prices": [
                    {"timestamp": 1761177600, "price": 0.9998},
                    {"timestamp": 1761264000, "price": 1.0001},
                ],
            }
        }
    },
    "prices": {
        "coins": {
            f"ethereum:{USDC}": {
                "decimals": 6,
                "symbol": "USDC",
                "price": 0.9998,
                "timestamp": 1761264000,
                "confidence": 0.99,
            }
        }
    },
    "ohlcv": {
        "status": {"timestamp": "2025-10-24T00:01:00.000Z", "error_code": 0, "error_message": None, "credit_count": 4},
        "data": {
            "GHO": [
                {
                    "id": 23508,
                    "name": "GHO",
                    "symbol": "GHO",
                    "quotes": [
                        {
                            "time_open": "2025-10-23T00:00:00.000Z",
                            "time_close": "2025-10-23T23:59:59.999Z",
                            "quote": {
                                "USD": {
                                    "open": 0.9993,
                                    "high": 1.0011,
                                    "low": 0.9987,
                                    "close": 0.9996,
                                    "volume": 1.2e6,
                                    "market_cap": 3.1e8,
                                    "timestamp": "2025-10-23T23:59:59.999Z",
                                }
                            },
                        }
                    ],
                }
            ]
        },
    },
    "quotes": {
        "status": {"error_code": 0},
        "data": {
            "23508": {
                "id": 23508,
                "symbol": "GHO",
                "quote": {
                    "USD": {
                        "price": 0.9996,
                        "volume_24h": 1.2e6,
                        "market_cap": 0,
                        "last_updated": "2025-10-24T00:01:00.000Z",
                    }
                },
            }
        },
    },
    "gas": {
        "data": {
            "network": "mainnet",
            "data": [
                {
                    "period": "2025-10-24T08:00:00+00:00",
                    "baseFee": 0.9648,
                    "gasLimit": 30000263.9,
                    "gasUsed": 15137036.2,
                    "txCount": 93.79,
                    "min": 0.98,
                    "max": 1.98,
                    "median": 2.07,
                    "ethPrice": 2679.63,
                },
                {
                    "period": "2025-10-24T07:00:00+00:00",
                    "baseFee": None,
                    "min": None,
                    "max": None,
                    "median": "2.5",
                    "ethPrice": 2680,
                },
            ],
            "lastUpdate": 1723369158692,
        }
    },
    "address_info": {
        "address": WALLET,
        "ETH": {"balance": 2, "rawBalance": "2000000000000000001", "price": {"rate": 1056.04}},
        "tokens": [
            {
                "tokenInfo": {"address": USDC, "decimals": "6", "symbol": "USDC", "price": False},
                "balance": 1.5e6,
                "rawBalance": "1500000",
            }
        ],
    },
    "operations": {
        "operations": [
            {
                "timestamp": 1761300012,
                "transactionHash": tx(2),
                "tokenInfo": {"address": USDC, "name": "USD Coin", "symbol": "USDC", "decimals": "6", "price": False},
                "type": "transfer",
                "value": "4000000",
                "from": WALLET,
                "to": VAULT,
            },
            {
                "timestamp": 1761300012,
                "transactionHash": tx(2),
                "tokenInfo": {"address": VAULT, "name": "Share", "symbol": "vUSDC", "decimals": "18"},
                "type": "transfer",
                "value": "3800000000000000000",
                "from": ZERO,
                "to": WALLET,
            },
        ]
    },
    "txlist": {
        "status": "1",
        "message": "OK",
        "result": [
            {
                "blockNumber": "100",
                "timeStamp": "1761300000",
                "hash": tx(1),
                "from": OTHER,
                "to": WALLET,
                "value": "2000000000000000000",
                "gas": "21000",
                "gasPrice": "1000000000",
                "gasUsed": "21000",
                "isError": "0",
                "functionName": "",
            },
            {
                "blockNumber": "101",
                "timeStamp": "1761300012",
                "hash": tx(2),
                "from": WALLET,
                "to": VAULT,
                "value": "0",
                "gasPrice": "2000000000",
                "gasUsed": "180000",
                "isError": "0",
                "functionName": "deposit(uint256 assets, address receiver)",
            },
            {
                "blockNumber": "102",
                "timeStamp": "1761300024",
                "hash": tx(3),
                "from": WALLET,
                "to": OTHER,
                "value": "7",
                "gasPrice": "2000000000",
                "gasUsed": "30000",
                "isError": "1",
            },
        ],
    },
    "txlistinternal": {
        "status": "1",
        "message": "OK",
        "result": [
            {
                "blockNumber": "103",
                "timeStamp": "1761300036",
                "hash": tx(4),
                "from": VAULT,
                "to": WALLET,
                "value": "5",
                "isError": "0",
                "type": "call",
            },
            {
                "blockNumber": "103",
                "timeStamp": "1761300036",
                "hash": tx(4),
                "from": VAULT,
                "to": WALLET,
                "value": "6",
                "isError": "1",
            },
        ],
    },
    "tokentx": {
        "status": "1",
        "message": "OK",
        "result": [
            {
                "blockNumber": "101",
                "timeStamp": "1761300012",
                "hash": tx(2),
                "from": ZERO,
                "to": WALLET,
                "contractAddress": VAULT,
                "value": "3800000000000000000",
                "tokenName": "Share",
                "tokenSymbol": "vUSDC",
                "tokenDecimal": "18",
                "gasPrice": "2000000000",
                "gasUsed": "180000",
            },
            {
                "blockNumber": "101",
                "timeStamp": "1761300012",
                "hash": tx(2),
                "from": WALLET,
                "to": VAULT,
                "contractAddress": USDC,
                "value": "4000000",
                "tokenName": "USD Coin",
                "tokenSymbol": "USDC",
                "tokenDecimal": "6",
                "gasPrice": "2000000000",
                "gasUsed": "180000",
            },
        ],
    },
    "balance": {"status": "1", "message": "OK", "result": "1500000"},
    "block_number": {"jsonrpc": "2.0", "id": 83, "result": "0x15a3f2c"},
    "shares": {
        "Meta Data": {
            "1. Information": "Daily Time Series with Splits and Dividend Events",
            "2. Symbol": "MSFT",
            "3. Last Refreshed": "2025-10-23",
            "4. Output Size": "Compact",
            "5. Time Zone": "US/Eastern",
        },
        "Time Series (Daily)": {
            "2025-10-23": {
                "1. open": "50.3000",
                "2. high": "51.0000",
                "3. low": "49.8600",
                "4. close": "50.5000",
                "5. adjusted close": "50.5",
                "6. volume": "17942632",
                "7. dividend amount": "0.0000",
                "8. split coefficient": "2.0000",
            },
            "2025-10-22": {
                "1. open": "98.7250",
                "2. high": "100.9400",
                "3. low": "96.8100",
                "4. close": "100.0000",
                "5. adjusted close": "50.0",
                "6. volume": "26649287",
                "7. dividend amount": "0.7500",
                "8. split coefficient": "1.0000",
            },
        },
    },
    "earnings": {
        "symbol": "MSFT",
        "annualEarnings": [{"fiscalDateEnding": "2025-06-30", "reportedEPS": "13.64"}],
        "quarterlyEarnings": [
            {
                "fiscalDateEnding": "2025-06-30",
                "reportedDate": "2025-07-29",
                "reportedEPS": "3.65",
                "estimatedEPS": "3.37",
                "surprise": "0.28",
                "surprisePercentage": "8.3086",
                "reportTime": "post-market",
            },
            {
                "fiscalDateEnding": "1996-03-31",
                "reportedDate": "1996-04-18",
                "reportedEPS": "0.05",
                "estimatedEPS": "None",
                "surprise": "None",
                "surprisePercentage": "None",
            },
        ],
    },
    "series": {
        "realtime_start": "2025-10-24",
        "realtime_end": "2025-10-24",
        "seriess": [
            {
                "id": "DGS1",
                "realtime_start": "2025-10-24",
                "realtime_end": "2025-10-24",
                "title": "Market Yield on U.S. Treasury Securities at 1-Year Constant Maturity",
                "observation_start": "1962-01-02",
                "observation_end": "2025-10-22",
                "frequency": "Daily",
                "frequency_short": "D",
                "units": "Percent",
                "units_short": "%",
                "seasonal_adjustment": "Not Seasonally Adjusted",
                "seasonal_adjustment_short": "NSA",
                "last_updated": "2025-10-23 15:18:04-05",
                "popularity": 80,
                "notes": "For further information …",
            }
        ],
    },
    "fred": {
        "realtime_start": "1776-07-04",
        "realtime_end": "9999-12-31",
        "units": "lin",
        "count": 3,
        "observations": [
            {"realtime_start": "2025-10-22", "realtime_end": "2025-10-23", "date": "2025-10-21", "value": "3.50"},
            {"realtime_start": "2025-10-24", "realtime_end": "9999-12-31", "date": "2025-10-21", "value": "3.51"},
            {"realtime_start": "2025-10-24", "realtime_end": "9999-12-31", "date": "2025-10-23", "value": "."},
        ],
    },
}


def sample(name: str) -> Any:
    """A fresh copy of one answer."""
    return copy.deepcopy(_SAMPLES[name])
