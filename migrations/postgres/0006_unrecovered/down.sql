DROP TABLE IF EXISTS holdfast_unrecovered;
