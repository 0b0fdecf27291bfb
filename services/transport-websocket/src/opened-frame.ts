/** The first frame of a connection: the session, the key to come back with, and what to send again. */
import { create } from "@bufbuild/protobuf";
import { type ServerOpened, ServerOpenedSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { AudioFormat } from "@rspp/ports/provider";
import type { TokenClaims } from "@rspp/ports/session-opener";
import { formatToWire } from "@rspp/transport/formats";

interface Session {
  readonly claims: TokenClaims;
  readonly resumeKey: string;
  readonly resumeWithinMs: number;
  readonly output: AudioFormat;
}

export function openedFrame(
  { claims, resumeKey, resumeWithinMs, output }: Session,
  seen: { readonly audio: number; readonly signals: number },
  resumed: boolean,
): ServerOpened {
  return create(ServerOpenedSchema, {
    session: { tenantId: claims.tenant, sessionId: claims.session },
    resumeKey,
    resumeWithinMs,
    outputFormat: formatToWire(output),
    resumed,
    resumeAudioAfter: BigInt(seen.audio),
    resumeSignalsAfter: BigInt(seen.signals),
  });
}
