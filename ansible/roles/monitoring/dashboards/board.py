"""A dashboard: its rows of panels, the choice of data source and venue, links to the others."""

from collections.abc import Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import dashboard as model

from dashboards.panels import SOURCE, Panel

TAG = "tapedeck"


class Board(NamedTuple):
    """One dashboard."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    by_venue: bool = False  # whether a person can choose venues; then its queries name $venue

    def build(self) -> model.Dashboard:
        """Return it as Grafana has it."""
        board = (
            grafana.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .timezone("utc")
            .time("now-6h", "now")
            .refresh("30s")
            .readonly()
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .link(
                grafana.DashboardLink("Tapedeck")
                .type(model.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(False)
                .keep_time(True)
                .include_vars(True)
            )
            .with_variable(grafana.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        )
        if self.by_venue:
            board.with_variable(
                grafana.QueryVariable("venue")
                .label("Venue")
                .datasource(SOURCE)
                .query("label_values(tapedeck_venue_wanted_stream_seconds_total, venue)")
                .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(model.VariableSort.ALPHABETICAL_ASC)
                .multi(True)
                .include_all(True)
                .all_value(".+")
            )
        for number, panel in enumerate(self.panels, 1):
            board.with_panel(panel.id(number))
        return board.build()
