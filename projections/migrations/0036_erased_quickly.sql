-- Where the rows of somebody are who is to be erased: all figures wait until they have another name.
CREATE INDEX sales_lines_by_customer ON sales_lines (shop, customer) WHERE customer <> '';
CREATE INDEX visitor_links_by_target ON visitor_links (shop, target);
CREATE INDEX visitor_hours_by_visitor ON visitor_hours (shop, visitor);
CREATE INDEX funnel_by_visitor ON funnel (shop, visitor);
CREATE INDEX cart_activity_by_ranked ON cart_activity (shop, ranked);
CREATE INDEX goal_moments_by_visitor ON goal_moments (shop, visitor);
CREATE INDEX experiment_exposures_by_unit ON experiment_exposures (shop, unit);
CREATE INDEX experiment_exposures_by_ranked ON experiment_exposures (shop, ranked);
