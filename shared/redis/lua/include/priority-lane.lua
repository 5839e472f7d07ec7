-- Gives the width of a priority's lane in the order of a queue.

-- Each priority has so much room for tags: orders of magnitude more than instances will ever be run.
local LANE = 1e13
