-- What operators tell pools: quiet or stop, each a row; gone with the pool.
CREATE TABLE worksong_told (
    space TEXT NOT NULL,
    pool TEXT NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (space, pool, word)
) WITHOUT ROWID;
