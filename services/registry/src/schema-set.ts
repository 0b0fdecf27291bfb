/** The contracts as one FileDescriptorSet (F-032), so that a client can be made from a running platform alone. */
import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { file_rspp_event_v1_event } from "@rspp/gen/rspp/event/v1/event_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { file_rspp_runtime_v1_link } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { file_rspp_transport_v1_websocket } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { rpcError } from "@rspp/rpc/errors";
import { SCHEMA_VERSION_MAX } from "@rspp/wire/envelope";
import { domain } from "./refusals.ts";

const services = [RegistryService, LeaseService, StateService, SessionService, TimelineService, ProviderService];
const roots: readonly DescFile[] = [
  file_rspp_event_v1_event,
  file_rspp_runtime_v1_link,
  file_rspp_transport_v1_websocket,
  ...services.map(({ file }) => file),
];

export function schemaSet(wanted: number): { schemaVersion: number; fileDescriptorSet: Uint8Array } {
  const schemaVersion = wanted === 0 ? SCHEMA_VERSION_MAX : wanted;
  if (schemaVersion !== SCHEMA_VERSION_MAX) {
    const metadata = { schema_version: String(wanted), newest: String(SCHEMA_VERSION_MAX) };
    throw rpcError(ErrorReason.UNSUPPORTED_SCHEMA_VERSION, { domain, metadata });
  }
  encoded ??= encode();
  return { schemaVersion, fileDescriptorSet: encoded };
}

let encoded: Uint8Array | undefined;

function encode(): Uint8Array {
  const files = new Set<DescFile>();
  const add = (file: DescFile): void => {
    if (files.has(file)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.add(file);
  };
  for (const root of roots) add(root);
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files].map((f) => f.proto) }));
}
