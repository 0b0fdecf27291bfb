/** A bidirectional stream of messages, the same at both ends of a grpc-js call. */
import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import type { RpcError } from "./errors.ts";

export type BidiMethod<I extends DescMessage, O extends DescMessage> = DescMethod & {
  methodKind: "bidi_streaming";
  input: I;
  output: O;
};

/** This end's hold on the stream. Nothing throws; a write after the end is dropped. */
export interface Duplex<Out> {
  /** Queues a message; `written` runs once the transport took it, at once when the stream is over. */
  write(message: Out, written?: () => void): void;
  /** No more messages from here. */
  end(): void;
  /** Ends the stream with an error at both ends; what is queued may be lost. */
  fail(error: RpcError): void;
  readonly closed: boolean;
}

/** What arrives. Exactly one `onClosed` comes last, `null` after an orderly end of both sides. */
export interface DuplexHandlers<In> {
  onMessage(message: In): void;
  /** The peer sends no more. */
  onEnd?(): void;
  onClosed?(error: RpcError | null): void;
}

export type InputOf<M extends DescMethod> = MessageShape<M["input"]>;
export type OutputOf<M extends DescMethod> = MessageShape<M["output"]>;
