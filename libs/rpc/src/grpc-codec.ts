/** Services of `gen/` as grpc-js definitions, with protobuf-es as the codec (architecture.md, decision 5). */

import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";

/** Bytes that are no message: grpc-js would answer INTERNAL with the decoder's words, so the handler answers instead. */
export const MALFORMED = Object.freeze({ malformed: true as const });
export type Decoded<T> = T | typeof MALFORMED;

export function isMalformed(message: unknown): message is typeof MALFORMED {
  return message === MALFORMED;
}

/** The bytes of a message, without a copy. */
export function encode<D extends DescMessage>(schema: D, message: MessageShape<D>): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Byte fields of the result alias `bytes`: whoever keeps them beyond the call copies them. */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): Decoded<MessageShape<D>> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return MALFORMED;
  }
}

export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** One method; a message that cannot be read arrives as {@link MALFORMED}. */
export function methodDefinition<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { input: I; output: O },
): MethodDefinition<Decoded<MessageShape<I>>, Decoded<MessageShape<O>>> {
  const kind = method.methodKind;
  return {
    path: methodPath(method),
    requestStream: kind === "client_streaming" || kind === "bidi_streaming",
    responseStream: kind === "server_streaming" || kind === "bidi_streaming",
    requestSerialize: (message) => encode(method.input, message as MessageShape<I>),
    requestDeserialize: (bytes) => decode(method.input, bytes),
    responseSerialize: (message) => encode(method.output, message as MessageShape<O>),
    responseDeserialize: (bytes) => decode(method.output, bytes),
    originalName: method.localName,
  };
}

/** All methods of a service, by their local names. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodDefinition(method)]));
}
