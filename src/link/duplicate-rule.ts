/** One of possibly several links between two servers, as seen from here. */
export interface LinkClaim {
  readonly initiatedHere: boolean
  /** The other side's process. */
  readonly instanceId: string
}

/**
 * What to do about a newcomer when a link to its server exists:
 * - `replace`: close the old link, take the newcomer.
 * - `keep`: refuse the newcomer as a duplicate.
 * - `keep-if-alive`: ask the old link for a sign of life. If it gives one refuse the newcomer as a
 *   duplicate, or as `name-in-use` when it is another process; else replace.
 */
export type DuplicateDecision = 'replace' | 'keep' | 'keep-if-alive'

/**
 * Both sides come to the same end without talking about it: of two links in different directions the one
 * initiated by the smaller server id stays. Of two in the same direction the acceptor takes the newer (the
 * initiator would not have dialled if it still had the old one), and the initiator keeps the older (it has
 * dialled a second address of the same server), so that exactly one of them is completed by both.
 */
export function decideDuplicate(
  old: LinkClaim,
  newcomer: LinkClaim,
  ownServerId: string,
  otherServerId: string,
): DuplicateDecision {
  if (old.instanceId !== newcomer.instanceId) return 'keep-if-alive'
  if (old.initiatedHere === newcomer.initiatedHere) return newcomer.initiatedHere ? 'keep' : 'replace'
  if (isPreferred(newcomer, ownServerId, otherServerId)) return 'replace'
  // The other side dials although it should have the better link: perhaps only we believe that it lives.
  return newcomer.initiatedHere ? 'keep' : 'keep-if-alive'
}

/** Initiated by the server with the smaller id (by UTF-16 code units, the same everywhere). */
export function isPreferred(claim: LinkClaim, ownServerId: string, otherServerId: string): boolean {
  return claim.initiatedHere === ownServerId < otherServerId
}
