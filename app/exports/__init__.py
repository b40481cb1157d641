"""Reports as files: Excel, CSV and Parquet, made in processes of their own."""
