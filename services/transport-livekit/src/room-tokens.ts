/** Tokens that admit to rooms, made with the server's own key. */
import { AccessToken } from "livekit-server-sdk";
import { limits } from "./limits.ts";

export interface RoomKey {
  readonly apiKey: string;
  secret(): Promise<string>;
}

export class RoomTokens {
  readonly #key: RoomKey;

  constructor(key: RoomKey) {
    this.#key = key;
  }

  /** For the adapter itself: it hears, speaks, and may say what it does. */
  async agent(room: string, identity: string): Promise<string> {
    const token = await this.#token(identity, "1h");
    token.kind = "agent";
    token.addGrant({ ...all(room), canUpdateOwnMetadata: true, agent: true });
    return token.toJwt();
  }

  /** For the caller, for minutes. */
  async caller(room: string, identity: string): Promise<string> {
    const token = await this.#token(identity, limits.CALLER_TOKEN_TTL);
    token.addGrant(all(room));
    return token.toJwt();
  }

  async #token(identity: string, ttl: string): Promise<AccessToken> {
    return new AccessToken(this.#key.apiKey, await this.#key.secret(), { identity, ttl });
  }
}

const all = (room: string) => ({ roomJoin: true, room, canPublish: true, canSubscribe: true, canPublishData: true });
