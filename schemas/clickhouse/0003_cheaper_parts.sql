-- A part fresh from an insert lies in one file, not in two for each column: it lives for seconds, and creating 120
-- files costs as much as sorting the rows. Merges need not count the distinct values of every column for the planner.
ALTER TABLE events MODIFY SETTING min_level_for_wide_part = 1, auto_statistics_types = '';
