-- 0030_reserved.sql: a number that another change uses; this file changes nothing.

SELECT 1;
