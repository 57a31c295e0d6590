"""The registry of questions: each venue that is recorded or polled, by its key in the settings."""

from recorder.venues.kraken import questions as kraken
from recorder.venues.questions import Questionnaire

QUESTIONNAIRES: dict[str, Questionnaire] = {
    "kraken": kraken.QUESTIONNAIRE,
}
