from durableflow._proto import task_hub_pb2 as _task_hub_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ["hub_id", "incarnation", "pid", "hands_over"]
    HUB_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    HANDS_OVER_FIELD_NUMBER: _ClassVar[int]
    hub_id: str
    incarnation: str
    pid: int
    hands_over: bool
    def __init__(self, hub_id: _Optional[str] = ..., incarnation: _Optional[str] = ..., pid: _Optional[int] = ..., hands_over: bool = ...) -> None: ...

class HandoverRequest(_message.Message):
    __slots__ = ["pid"]
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class HandoverReply(_message.Message):
    __slots__ = ["accepted"]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    def __init__(self, accepted: bool = ...) -> None: ...

class Completions(_message.Message):
    __slots__ = ["number", "turns", "activities"]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITIES_FIELD_NUMBER: _ClassVar[int]
    number: int
    turns: _containers.RepeatedCompositeFieldContainer[_task_hub_pb2.OrchestratorResponse]
    activities: _containers.RepeatedCompositeFieldContainer[_task_hub_pb2.ActivityResponse]
    def __init__(self, number: _Optional[int] = ..., turns: _Optional[_Iterable[_Union[_task_hub_pb2.OrchestratorResponse, _Mapping]]] = ..., activities: _Optional[_Iterable[_Union[_task_hub_pb2.ActivityResponse, _Mapping]]] = ...) -> None: ...

class CompletionsTaken(_message.Message):
    __slots__ = ["number", "failed"]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    number: int
    failed: _containers.RepeatedCompositeFieldContainer[FailedCompletion]
    def __init__(self, number: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FailedCompletion, _Mapping]]] = ...) -> None: ...

class FailedCompletion(_message.Message):
    __slots__ = ["completion_token", "status", "message"]
    COMPLETION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    completion_token: str
    status: int
    message: str
    def __init__(self, completion_token: _Optional[str] = ..., status: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
