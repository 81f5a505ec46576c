"""`photographs`: crops, drawn anew in every epoch, of photographs that distributions ship as wallpapers.

`table` says which and whose they are, `deb` reads a package's files, `fetch` brings them into the cache, `pyramid`
keeps them decoded at several scales, `crops` draws from there, and `source` is the data set.
"""
