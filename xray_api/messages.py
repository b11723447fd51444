"""The few protobuf messages of Xray's API that the service speaks, built at run time.

Field numbers and types are those of the pinned core (26.7.28), read from the descriptors inside its binary. On the wire a
message has no name, so all of them live in one private package here; the names Xray looks types up by
(`xray.proxy.vless.Account`) travel as text inside `TypedMessage`. Runtime descriptors spare a node the protoc tool chain and
generated files, and the published Python client is GPL.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE: Final = "atlas.node.xray"
_REPEATED: Final = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_OPTIONAL: Final = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_SCALARS: Final = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
}

# message -> its fields as "number name type"; a type ending in * is repeated. Only what is read or written is listed: protobuf
# keeps the rest of an answer as unknown fields.
_MESSAGES: Final[dict[str, tuple[str, ...]]] = {
    # common/serial/typed_message.proto, common/protocol/user.proto, proxy/vless/account.proto
    "TypedMessage": ("1 type string", "2 value bytes"),
    "User": ("1 level uint32", "2 email string", "3 account TypedMessage"),
    "VlessAccount": ("1 id string", "2 flow string", "3 encryption string"),
    # app/proxyman/command/command.proto
    "AddUserOperation": ("1 user User",),
    "RemoveUserOperation": ("1 email string",),
    "AlterInboundRequest": ("1 tag string", "2 operation TypedMessage"),
    "AlterInboundResponse": (),
    "GetInboundUserRequest": ("1 tag string", "2 email string"),
    "GetInboundUserResponse": ("1 users User*",),
    "GetInboundUsersCountResponse": ("1 count int64",),
    "ListInboundsRequest": ("1 isOnlyTags bool",),
    "ListInboundsResponse": ("1 inbounds InboundHandlerConfig*",),
    # core/config.proto, app/proxyman/config.proto, common/net/port.proto
    "InboundHandlerConfig": ("1 tag string", "2 receiver_settings TypedMessage", "3 proxy_settings TypedMessage"),
    "ReceiverConfig": ("1 port_list PortList", "3 stream_settings StreamConfig"),
    "PortList": ("1 range PortRange*",),
    "PortRange": ("1 From uint32", "2 To uint32"),
    # transport/internet/config.proto, transport/internet/reality/config.proto, transport/internet/tcp/config.proto
    "StreamConfig": (
        "2 transport_settings TransportConfig*",
        "3 security_type string",
        "4 security_settings TypedMessage*",
        "5 protocol_name string",
        "11 tcpmasks TypedMessage*",
    ),
    "TransportConfig": ("2 settings TypedMessage", "3 protocol_name string"),
    "TcpConfig": ("2 header_settings TypedMessage",),
    "RealityConfig": (
        "5 server_names string*",
        "6 private_key bytes",
        "7 min_client_ver bytes",
        "8 max_client_ver bytes",
        "10 short_ids bytes*",
    ),
    # proxy/vless/inbound/config.proto
    "VlessInboundConfig": ("3 decryption string",),
    # app/stats/command/command.proto
    "SysStatsRequest": (),
    "SysStatsResponse": ("10 Uptime uint32",),
    "GetUsersStatsRequest": ("1 include_traffic bool", "2 reset bool"),
    "GetUsersStatsResponse": ("1 users UserStat*",),
    "UserStat": ("1 email string", "2 ips OnlineIPEntry*"),
    "OnlineIPEntry": ("1 ip string", "2 last_seen int64"),
}


def _build() -> dict[str, type[Any]]:
    file = descriptor_pb2.FileDescriptorProto(name="atlas/node/xray.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind in (field.split() for field in fields):
            field = message.field.add(
                name=field_name, number=int(number), label=_REPEATED if kind.endswith("*") else _OPTIONAL
            )
            scalar = _SCALARS.get(kind.removesuffix("*"))
            if scalar is None:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind.removesuffix('*')}"
            else:
                field.type = scalar
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES: Final = _build()


def message_class(name: str) -> type[Any]:
    """The class of one message named in this module; KeyError for another name."""
    return _CLASSES[name]


def make(name: str, **fields: Any) -> Any:
    """A message by name, e.g. `make("User", email="12.3")`."""
    return _CLASSES[name](**fields)


def parse(name: str, data: bytes) -> Any:
    """Decode bytes as the named message; google.protobuf.message.DecodeError when they are not one."""
    return _CLASSES[name].FromString(data)


def typed(type_name: str, message: Any) -> Any:
    """Wrap a message the way Xray's registry expects, under the core's own full type name."""
    return make("TypedMessage", type=type_name, value=message.SerializeToString())
