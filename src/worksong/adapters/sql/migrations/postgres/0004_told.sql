-- What operators tell pools: quiet or stop, each a row; gone with the pool.
CREATE TABLE worksong_told (
    space text NOT NULL,
    pool text NOT NULL,
    word text NOT NULL,
    PRIMARY KEY (space, pool, word)
);
