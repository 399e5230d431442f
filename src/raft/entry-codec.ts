import { type Configuration, MAX_MEMBERS } from './configuration.js'
import { type Tuple, TupleReader } from './tuple-reader.js'
import {
  type Entry,
  type EntryBody,
  entryOf,
  type HardState,
  MAX_NODE_ID_LENGTH,
  type NodeId,
  type SnapshotMetadata,
} from './types.js'

/** Upper bound on one entry's data that is accepted from outside; `maxEntryBytes` is the working limit. */
const MAX_DECODED_ENTRY_BYTES = 1024 * 1024

const BODY_KINDS = ['command', 'no-op', 'configuration'] as const

function configurationToTuple({ voters, learners }: Configuration): Tuple {
  return [voters, learners]
}

/** @throws FrameError unless both lists are sorted, free of repetition, and disjoint. */
function readConfiguration(reader: TupleReader): Configuration {
  const names = (what: string): NodeId[] => {
    const list = reader.list(what, MAX_MEMBERS, (item) => item.string(MAX_NODE_ID_LENGTH))
    if (list.some((node, at) => at > 0 && list[at - 1]! >= node)) reader.fail(`${what} are not in order`)
    return list
  }
  const voters = names('voters')
  const learners = names('learners')
  reader.end()
  const known = new Set(voters)
  if (learners.some((node) => known.has(node))) reader.fail('names a member twice')
  return { voters, learners }
}

export function bodyToTuple(body: EntryBody): Tuple {
  switch (body.kind) {
    case 'command':
      return [0, body.data]
    case 'no-op':
      return [1]
    case 'configuration':
      return [2, configurationToTuple(body.configuration)]
  }
}

/** The fields of `bodyToTuple`, to the end of the tuple. @throws FrameError */
export function readBody(reader: TupleReader): EntryBody {
  const kind = reader.choice(BODY_KINDS)
  let body: EntryBody
  if (kind === 'command') body = { kind, data: reader.bytes(MAX_DECODED_ENTRY_BYTES) }
  else if (kind === 'no-op') body = { kind }
  else body = { kind, configuration: readConfiguration(reader.nested('configuration')) }
  reader.end()
  return body
}

/** For the journal: [index, term, kind, …]. In an append message the index follows from the place. */
export function entryToTuple(entry: Entry): Tuple {
  return [entry.index, entry.term, ...bodyToTuple(entry)]
}

/** @throws FrameError */
export function entryFromTuple(value: unknown): Entry {
  const reader = new TupleReader(value, 'entry')
  const index = reader.integer(1)
  const term = reader.integer(1)
  return entryOf(readBody(reader), index, term)
}

/** [term, vote or null, commit] */
export function hardStateToTuple({ term, vote, commit }: HardState): Tuple {
  return [term, vote ?? null, commit]
}

/** @throws FrameError */
export function hardStateFromTuple(value: unknown): HardState {
  const reader = new TupleReader(value, 'hard state')
  const hardState = {
    term: reader.integer(),
    vote: reader.optionalString(MAX_NODE_ID_LENGTH),
    commit: reader.integer(),
  }
  reader.end()
  return hardState
}

/** [index, term, [voters, learners]] */
export function snapshotMetadataToTuple({ index, term, configuration }: SnapshotMetadata): Tuple {
  return [index, term, configurationToTuple(configuration)]
}

/** @throws FrameError */
export function snapshotMetadataFromTuple(value: unknown): SnapshotMetadata {
  return readSnapshotMetadata(new TupleReader(value, 'snapshot metadata'))
}

export function readSnapshotMetadata(reader: TupleReader): SnapshotMetadata {
  const metadata = {
    index: reader.integer(),
    term: reader.integer(),
    configuration: readConfiguration(reader.nested('configuration')),
  }
  reader.end()
  return metadata
}
