"""One folder per corpus: protocol, results and the runs behind them."""
