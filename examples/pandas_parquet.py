"""A table as a Parquet file on all your machines: pandas knows wos:// when World OS is installed with fsspec."""

import pandas as pd

if __name__ == "__main__":
    table = pd.DataFrame({"city": ["Bern", "Oslo", "Rome"], "people": [134_000, 717_000, 2_750_000]})
    table.to_parquet("wos://tables/cities.parquet")
    column = pd.read_parquet("wos://tables/cities.parquet", columns=["people"])
    print(f"{len(column)} cities, {column['people'].sum()} people")
