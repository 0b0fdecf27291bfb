/** The two connections of a pair as an end of a link sees them, whichever side called. */
import type { LinkControlFrame, LinkEvent } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { RpcError } from "./errors.ts";

export interface ControlWire {
  /** Written at once; `written` runs when the transport took it. */
  send(frames: LinkControlFrame[], written: () => void): void;
  /** Ends it: orderly with null. */
  close(error: RpcError | null): void;
}

export interface MediaWire {
  send(events: LinkEvent[], written: () => void): void;
  close(error: RpcError | null): void;
}
