-- 0030_stand_in.sql: takes the number of a migration that another branch brings; that file replaces this one.

SELECT 1;
