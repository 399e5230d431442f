import type { NodeId } from './types.js'

/** How many of `voterCount` voters are a majority. */
export function majority(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1
}

/**
 * The highest value that a majority of `voters` has reached; 0 without voters, since then nothing can ever
 * be decided. Used for log indexes (commitment) and for read rounds alike.
 */
export function quorumValue(voters: readonly NodeId[], reachedBy: (voter: NodeId) => number): number {
  if (voters.length === 0) return 0
  const values = voters.map(reachedBy).sort((left, right) => left - right)
  return values[voters.length - majority(voters.length)]!
}

export type VoteResult = 'won' | 'lost' | 'pending'

/** `votes` holds true for a grant and false for a rejection; those of non-voters do not count. */
export function voteResult(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  let granted = 0
  let missing = 0
  for (const voter of voters) {
    const vote = votes.get(voter)
    if (vote === undefined) missing += 1
    else if (vote) granted += 1
  }
  const needed = majority(voters.length)
  if (granted >= needed) return 'won'
  return granted + missing >= needed ? 'pending' : 'lost'
}

/** Whether a majority of `voters` satisfies `isActive`. */
export function quorumActive(voters: readonly NodeId[], isActive: (voter: NodeId) => boolean): boolean {
  return voters.length > 0 && voters.filter(isActive).length >= majority(voters.length)
}
