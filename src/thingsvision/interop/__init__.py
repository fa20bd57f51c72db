"""The records of other packages: xarray as Brain-Score has it, rsatoolbox, pandas.

Nothing here knows `Features` or `RDM`: the functions take and give their fields, and
`thingsvision.interop.methods` hands them to the records.
"""
