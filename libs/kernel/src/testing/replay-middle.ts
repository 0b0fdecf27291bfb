/** A replay that stops on its way and goes on from the snapshot of its state. For tests. */
import { type Digest, digestCreate } from "@rspp/base/digest";
import { digestEffects } from "../effect-digest.ts";
import { replayJournal } from "../replay.ts";
import { restoreState, snapshotState } from "../snapshot.ts";
import type { World } from "./world.ts";

/** Replays up to a batch, restores the state from its snapshot there, and goes on with the rest of the journal. */
export function replayFromMiddle(world: World, at: number): ReturnType<typeof replayJournal> {
  const journal = JSON.parse(JSON.stringify(world.journal)) as typeof world.journal;
  const digest: Digest = digestCreate();
  const first = replayJournal(world.config, journal.slice(0, at), {
    onStep: (_batch, effects) => digestEffects(digest, effects),
  });
  if (!first.identical) throw new Error(`replay to ${at} diverged: ${JSON.stringify(first.divergences[0])}`);
  return replayJournal(world.config, journal.slice(at), {
    from: { state: restoreState(snapshotState(first.state)), digest },
  });
}
