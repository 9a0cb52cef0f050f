from fcoslite.camera.topics import discovery_message


def test_the_discovery_message_has_what_home_assistant_asks_for() -> None:
    """https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload tells what."""
    message = discovery_message("door")
    assert message["device"]["identifiers"] and message["device"]["name"] == "door"
    assert message["origin"]["name"]
    ids = [component["unique_id"] for component in message["components"].values()]
    assert len(set(ids)) == len(ids) == 3
    for component in message["components"].values():
        assert component["platform"] in ("binary_sensor", "sensor", "event")
        assert component["state_topic"].startswith("fcoslite/door/")
    assert message["components"]["event"]["event_types"] == ["visit"]
    others = discovery_message("yard")
    assert not {each["unique_id"] for each in others["components"].values()} & set(ids)
