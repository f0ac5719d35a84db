"""The preview dialect as tables: every event with the fields it must have. No package describes it any more.

Sources: Azure OpenAI's reference of the preview API (versions 2024-10-01 to 2025-04-01) and the beta types that the
``openai`` package had until 2025. Every event may have ``type`` and ``event_id`` as well.
"""

from __future__ import annotations

from typing import Any

SESSION_KEYS = {
    "modalities",
    "instructions",
    "voice",
    "speed",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
    "tools",
    "tool_choice",
    "temperature",
    "max_response_output_tokens",
}
VOICE_LIVE_SESSION_KEYS = (SESSION_KEYS - {"speed"}) | {"input_audio_echo_cancellation"}

CLIENT_EVENTS: dict[str, set[str]] = {
    "session.update": {"session"},
    "input_audio_buffer.append": {"audio"},
    "input_audio_buffer.commit": set(),
    "input_audio_buffer.clear": set(),
    "conversation.item.create": {"item"},
    "conversation.item.truncate": {"item_id", "content_index", "audio_end_ms"},
    "response.create": set(),
    "response.cancel": set(),
}
"""The client events that Hearth sends, with the fields that they need."""

OPTIONAL = {"response.create": {"response"}, "conversation.item.create": {"previous_item_id"}}

IDS = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
ITEM = {"item": {"id": "item_1", "object": "realtime.item", "type": "message", "status": "completed", "content": []}}
SESSION = {"session": {"id": "sess_1", "object": "realtime.session", "model": "gpt-4o-realtime-preview"}}
OUTPUT = {"response_id": "resp_1", "output_index": 0}
RESPONSE = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
CALL_IDS = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "call_id": "call_1"}

SERVER_EVENTS: dict[str, dict[str, Any]] = {
    "session.created": SESSION,
    "session.updated": SESSION,
    "transcription_session.updated": SESSION,
    "conversation.created": {"conversation": {"id": "conv_1", "object": "realtime.conversation"}},
    "conversation.item.created": {**ITEM, "previous_item_id": None},
    "conversation.item.retrieved": ITEM,
    "conversation.item.deleted": {"item_id": "item_1"},
    "conversation.item.truncated": {"item_id": "item_1", "content_index": 0, "audio_end_ms": 400},
    "conversation.item.input_audio_transcription.delta": {"item_id": "item_1", "content_index": 0, "delta": "wh"},
    "conversation.item.input_audio_transcription.completed": {
        "item_id": "item_1",
        "content_index": 0,
        "transcript": "what time is it",
    },
    "conversation.item.input_audio_transcription.failed": {"item_id": "item_1", "content_index": 0, "error": {}},
    "input_audio_buffer.committed": {"item_id": "item_1", "previous_item_id": None},
    "input_audio_buffer.cleared": {},
    "input_audio_buffer.speech_started": {"item_id": "item_1", "audio_start_ms": 400},
    "input_audio_buffer.speech_stopped": {"item_id": "item_1", "audio_end_ms": 900},
    "response.created": {"response": RESPONSE},
    "response.done": {"response": {**RESPONSE, "status": "completed"}},
    "response.output_item.added": {**OUTPUT, **ITEM},
    "response.output_item.done": {**OUTPUT, **ITEM},
    "response.content_part.added": {**IDS, "part": {"type": "audio"}},
    "response.content_part.done": {**IDS, "part": {"type": "audio"}},
    "response.text.delta": {**IDS, "delta": "It is"},
    "response.text.done": {**IDS, "text": "It is noon."},
    "response.audio.delta": {**IDS, "delta": "AAABAA=="},
    "response.audio.done": IDS,
    "response.audio_transcript.delta": {**IDS, "delta": "It is"},
    "response.audio_transcript.done": {**IDS, "transcript": "It is noon."},
    "response.function_call_arguments.delta": {**CALL_IDS, "delta": "{"},
    "response.function_call_arguments.done": {**CALL_IDS, "arguments": "{}"},
    "rate_limits.updated": {"rate_limits": []},
    "output_audio_buffer.started": {"response_id": "resp_1"},
    "output_audio_buffer.stopped": {"response_id": "resp_1"},
    "output_audio_buffer.cleared": {"response_id": "resp_1"},
    "error": {"error": {"type": "invalid_request_error", "code": "c", "message": "m"}},
}
"""Every server event of the dialect with the fields that it always has."""

VOICE_LIVE_EVENTS: dict[str, dict[str, Any]] = {
    "response.audio_timestamp.delta": {**IDS, "audio_offset_ms": 0, "audio_duration_ms": 10, "text": "It"},
    "response.audio_timestamp.done": IDS,
    "response.animation_viseme.delta": {**IDS, "audio_offset_ms": 0, "viseme_id": 1},
    "response.animation_viseme.done": IDS,
    "response.animation_blendshapes.delta": {**IDS, "frames": "", "frame_index": 0},
    "response.animation_blendshapes.done": IDS,
    "response.video.delta": {**IDS, "delta": ""},
    "response.web_search_call.in_progress": CALL_IDS,
    "response.file_search_call.completed": CALL_IDS,
    "session.avatar.connecting": {"server_sdp": ""},
    "warning": {"warning": {"message": "m"}},
}
"""What Azure Voice Live says beyond that."""
