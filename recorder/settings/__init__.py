"""Every setting of Tapedeck: its type, unit, default and meaning, and where its value comes from."""

from recorder.settings.appliance import EMBEDDED, Settings
from recorder.settings.groups import (
    DeriverSettings,
    JournalSettings,
    LogSettings,
    MonitoringSettings,
    RestSettings,
    SimulatorSettings,
    VenueSettings,
    WebsocketSettings,
)
from recorder.settings.polled import PolymarketSettings
from recorder.settings.served import WebSettings
from recorder.settings.watched import AlertSettings, WatchdogSettings

__all__ = [
    "EMBEDDED",
    "AlertSettings",
    "DeriverSettings",
    "JournalSettings",
    "LogSettings",
    "MonitoringSettings",
    "PolymarketSettings",
    "RestSettings",
    "Settings",
    "SimulatorSettings",
    "VenueSettings",
    "WatchdogSettings",
    "WebSettings",
    "WebsocketSettings",
]
