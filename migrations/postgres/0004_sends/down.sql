DROP TABLE holdfast_send;
