"""Groups, their members and roles; and the first start, which makes group `super` and user `admin`."""
