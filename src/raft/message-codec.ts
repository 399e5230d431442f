import type { MembershipChange } from './configuration.js'
import { bodyToTuple, readBody, readSnapshotMetadata, snapshotMetadataToTuple } from './entry-codec.js'
import {
  isTermless,
  MAX_REQUEST_ID_LENGTH,
  type Message,
  type MessageType,
  type Proposal,
  type ProposalAnswer,
  type ReadAnswer,
} from './messages.js'
import { REFUSALS } from './refusals.js'
import { type Tuple, TupleReader, type TupleValue } from './tuple-reader.js'
import { type Entry, entryOf, MAX_NODE_ID_LENGTH } from './types.js'

/** Bounds on what is accepted from a peer, above any sensible option, so that options may differ. */
const MAX_DECODED_APPEND_ENTRIES = 16_384
const MAX_DECODED_PROPOSALS = 16_384
const MAX_DECODED_COMMAND_BYTES = 1024 * 1024
const MAX_DECODED_CHUNK_BYTES = 1024 * 1024

/** A message is [type, from, to, term, …]; the type is the position in this list. Append only. */
const TYPES = [
  'pre-vote',
  'pre-vote-response',
  'vote',
  'vote-response',
  'append',
  'append-response',
  'heartbeat',
  'heartbeat-response',
  'snapshot',
  'snapshot-response',
  'timeout-now',
  'propose',
  'propose-response',
  'read',
  'read-response',
  'transfer',
  'commit',
] as const satisfies readonly MessageType[]

/** The type of an append message, for an encoder that makes no tuple of it. */
export const APPEND_TYPE = TYPES.indexOf('append')

const CHANGE_KINDS = ['add-learner', 'promote', 'demote', 'remove'] as const
const STATUSES = ['taken', 'refused'] as const

interface Codec<M> {
  readonly write: (message: M) => TupleValue[]
  readonly read: (reader: TupleReader) => Omit<M, 'type' | 'from' | 'to' | 'term'>
}

/** Plain values for the link's encoder. */
export function messageToTuple(message: Message): Tuple {
  const codec = CODECS[message.type] as Codec<Message>
  return [TYPES.indexOf(message.type), message.from, message.to, message.term, ...codec.write(message)]
}

/** @throws FrameError for anything that a member of this version would not send. */
export function messageFromTuple(value: unknown): Message {
  const reader = new TupleReader(value, 'raft message')
  const type = reader.choice(TYPES)
  const from = reader.string(MAX_NODE_ID_LENGTH)
  const to = reader.string(MAX_NODE_ID_LENGTH)
  const term = reader.integer()
  if (isTermless(type) !== (term === 0)) reader.fail(`of type ${type} with term ${term}`)
  const body = (CODECS[type] as Codec<Message>).read(reader)
  reader.end()
  return { type, from, to, term, ...body } as Message
}

const GRANT = {
  write: ({ granted }: { readonly granted: boolean }) => [granted],
  read: (reader: TupleReader) => ({ granted: reader.boolean() }),
}

const CODECS: { readonly [T in MessageType]: Codec<Extract<Message, { type: T }>> } = {
  'pre-vote': {
    write: ({ lastIndex, lastTerm }) => [lastIndex, lastTerm],
    read: (reader) => ({ lastIndex: reader.integer(), lastTerm: reader.integer() }),
  },
  'pre-vote-response': GRANT,
  vote: {
    write: ({ lastIndex, lastTerm, transfer }) => [lastIndex, lastTerm, transfer],
    read: (reader) => ({
      lastIndex: reader.integer(),
      lastTerm: reader.integer(),
      transfer: reader.boolean(),
    }),
  },
  'vote-response': GRANT,
  append: {
    write: ({ previousIndex, previousTerm, commit, entries }) => {
      const items = entries.map((entry) => [entry.term, ...bodyToTuple(entry)])
      return [previousIndex, previousTerm, commit, items]
    },
    read: readAppend,
  },
  'append-response': {
    write: ({ rejected, index, hintIndex, hintTerm }) => [rejected, index, hintIndex, hintTerm],
    read: (reader) => ({
      rejected: reader.boolean(),
      index: reader.integer(),
      hintIndex: reader.integer(),
      hintTerm: reader.integer(),
    }),
  },
  heartbeat: {
    write: ({ commit, readSequence }) => [commit, readSequence],
    read: (reader) => ({ commit: reader.integer(), readSequence: reader.integer() }),
  },
  'heartbeat-response': {
    write: ({ readSequence }) => [readSequence],
    read: (reader) => ({ readSequence: reader.integer() }),
  },
  snapshot: {
    write: ({ snapshot, offset, data, last }) => [snapshotMetadataToTuple(snapshot), offset, data, last],
    read: readSnapshotChunk,
  },
  'snapshot-response': {
    write: ({ snapshotIndex, rejected, nextOffset }) => [snapshotIndex, rejected, nextOffset],
    read: (reader) => ({
      snapshotIndex: reader.integer(),
      rejected: reader.boolean(),
      nextOffset: reader.integer(),
    }),
  },
  'timeout-now': { write: () => [], read: () => ({}) },
  propose: {
    write: ({ requestId, proposals }) => [requestId, proposals.map(proposalToTuple)],
    read: (reader) => ({
      requestId: reader.string(MAX_REQUEST_ID_LENGTH),
      proposals: reader.list('proposals', MAX_DECODED_PROPOSALS, (list) =>
        readProposal(list.nested('proposal')),
      ),
    }),
  },
  'propose-response': {
    write: ({ requestId, answers }) => [requestId, answers.map(proposalAnswerToTuple)],
    read: (reader) => ({
      requestId: reader.string(MAX_REQUEST_ID_LENGTH),
      answers: reader.list('proposal answers', MAX_DECODED_PROPOSALS, (list) =>
        readProposalAnswer(list.nested('proposal answer')),
      ),
    }),
  },
  read: {
    write: ({ requestId }) => [requestId],
    read: (reader) => ({ requestId: reader.string(MAX_REQUEST_ID_LENGTH) }),
  },
  'read-response': {
    write: ({ requestId, answer }) => [requestId, readAnswerToTuple(answer)],
    read: (reader) => ({
      requestId: reader.string(MAX_REQUEST_ID_LENGTH),
      answer: readReadAnswer(reader.nested('read answer')),
    }),
  },
  transfer: {
    write: ({ target }) => [target],
    read: (reader) => ({ target: reader.string(MAX_NODE_ID_LENGTH) }),
  },
  commit: {
    write: ({ commit }) => [commit],
    read: (reader) => ({ commit: reader.integer() }),
  },
}

function readAppend(reader: TupleReader) {
  const previousIndex = reader.integer()
  const previousTerm = reader.integer()
  const commit = reader.integer()
  let lastTerm = Math.max(1, previousTerm)
  const entries: Entry[] = reader.list('entries', MAX_DECODED_APPEND_ENTRIES, (list, at) => {
    const item = list.nested('entry')
    // Terms never fall along a log.
    lastTerm = item.integer(lastTerm)
    return entryOf(readBody(item), previousIndex + 1 + at, lastTerm)
  })
  return { previousIndex, previousTerm, commit, entries }
}

function readSnapshotChunk(reader: TupleReader) {
  const snapshot = readSnapshotMetadata(reader.nested('snapshot metadata'))
  const offset = reader.integer()
  const data = reader.bytes(MAX_DECODED_CHUNK_BYTES)
  const last = reader.boolean()
  // An empty piece that is not the end would be asked for again for ever.
  if (data.length === 0 && !last) reader.fail('carries an empty piece of a snapshot')
  return { snapshot, offset, data, last }
}

function proposalToTuple(proposal: Proposal): Tuple {
  if (proposal.kind === 'command') return [0, proposal.data]
  return [1, CHANGE_KINDS.indexOf(proposal.change.kind), proposal.change.node]
}

function readProposal(reader: TupleReader): Proposal {
  const kind = reader.choice(['command', 'change'] as const)
  let proposal: Proposal
  if (kind === 'command') {
    proposal = { kind, data: reader.bytes(MAX_DECODED_COMMAND_BYTES) }
  } else {
    const change: MembershipChange = {
      kind: reader.choice(CHANGE_KINDS),
      node: reader.string(MAX_NODE_ID_LENGTH),
    }
    proposal = { kind, change }
  }
  reader.end()
  return proposal
}

function proposalAnswerToTuple(answer: ProposalAnswer): Tuple {
  if (answer.status === 'accepted') return [0, answer.index, answer.term]
  return [1, REFUSALS.indexOf(answer.reason)]
}

function readProposalAnswer(reader: TupleReader): ProposalAnswer {
  const taken = reader.choice(STATUSES) === 'taken'
  const answer: ProposalAnswer = taken
    ? { status: 'accepted', index: reader.integer(1), term: reader.integer(1) }
    : { status: 'refused', reason: reader.choice(REFUSALS) }
  reader.end()
  return answer
}

function readAnswerToTuple(answer: ReadAnswer): Tuple {
  if (answer.status === 'confirmed') return [0, answer.index]
  return [1, REFUSALS.indexOf(answer.reason)]
}

function readReadAnswer(reader: TupleReader): ReadAnswer {
  const taken = reader.choice(STATUSES) === 'taken'
  const answer: ReadAnswer = taken
    ? { status: 'confirmed', index: reader.integer() }
    : { status: 'refused', reason: reader.choice(REFUSALS) }
  reader.end()
  return answer
}
