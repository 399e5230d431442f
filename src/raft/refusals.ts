/**
 * Why a proposal or a read was not taken. Every refusal is certain: nothing was or will be done because of
 * that request. Where that is not certain the outcome says `unknown` instead.
 */
const REQUEST_REFUSALS = [
  'no-leader',
  'not-leader',
  'overloaded',
  'too-large',
  'transferring-leadership',
  'not-committed-in-term',
  'leader-changed',
  'timed-out',
] as const
type RequestRefusal = (typeof REQUEST_REFUSALS)[number]

/** Why a membership change was not taken, beside the reasons above. */
const CHANGE_REFUSALS = [
  'change-pending',
  'already-a-member',
  'already-a-voter',
  'already-a-learner',
  'not-a-member',
  'last-voter',
  'too-many-members',
  'too-many-voters',
  'learner-behind',
  'would-lose-quorum',
] as const
export type ChangeRefusal = (typeof CHANGE_REFUSALS)[number]

export type Refusal = RequestRefusal | ChangeRefusal

export const REFUSALS: readonly Refusal[] = [...REQUEST_REFUSALS, ...CHANGE_REFUSALS]
