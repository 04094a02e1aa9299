-- One table of image requests, first flat, then with the columns of February beside the flat ones.

ALTER TABLE image_requests
    ADD COLUMN name TEXT,
    ADD COLUMN tag TEXT,
    ADD COLUMN note TEXT;
