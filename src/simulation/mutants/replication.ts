import { type Cell, CellKind, isCounterCell } from '../../crdt/cell.js'
import { addQuantities } from '../../crdt/column.js'
import { deltaFromTuple, deltaToTuple } from '../../crdt/delta-codec.js'
import { Partition } from '../../crdt/partition.js'
import { Replicator, type ReplicatorPorts } from '../../gossip/replicator.js'
import { MeshAuditor } from '../../node/mesh-auditor.js'
import { encodeMessage } from '../../wire/encode.js'
import { coreOf } from '../core-of.js'
import type { Mutant } from './mutant.js'

const mergeAdds: Mutant = {
  name: 'merge-adds-instead-of-keeping-the-later-write',
  invariant: 'S1',
  // What it adds up it passes on under the number of the write.
  alsoInvariants: ['I2'],
  withinSeeds: 10,
  apply(run) {
    run.override(Partition.prototype, 'merge', (original) => {
      return function (this: Partition, delta) {
        const cells = delta.cells.map((cell) => added(this, delta.replica, cell))
        return original.call(this, { ...delta, cells })
      }
    })
  },
}

function added(partition: Partition, replica: string, cell: Cell): Cell {
  const state = partition.replica(replica)
  if (!isCounterCell(cell) || state === undefined) return cell
  const { table } = partition
  const entry = table.findNamespace(cell.kind, cell.namespace)?.entries.get(cell.key)
  const row = entry === undefined ? -1 : table.findCell(entry, state.index)
  if (row < 0 || table.numberOf(row) >= cell.number) return cell
  const before = table.counterValue(row)
  const deposited = addQuantities(before.deposited, cell.value.deposited)
  const withdrawn = addQuantities(before.withdrawn, cell.value.withdrawn)
  return { ...cell, value: { ...cell.value, deposited, withdrawn } }
}

const gapSwallowed: Mutant = {
  name: 'gap-swallowed',
  invariant: 'S1',
  withinSeeds: 60,
  apply(run) {
    run.override(Replicator.prototype, 'onDelta', (original) => {
      return function (this: Replicator, peer, tuple, bytes) {
        const delta = deltaFromTuple(tuple)
        const { ports } = this as unknown as { ports: ReplicatorPorts }
        const known = ports.partitions.get(delta.partition)?.known(delta.replica)
        if (known === undefined || delta.from <= known) return original.call(this, peer, tuple, bytes)
        const closed = deltaToTuple({ ...delta, from: known })
        return original.call(this, peer, closed, encodeMessage(closed))
      }
    })
  },
}

const vectorGoesBack: Mutant = {
  name: 'vector-follows-the-last-delta-even-backwards',
  invariant: 'V1',
  withinSeeds: 30,
  apply(run) {
    run.override(Replicator.prototype, 'onDelta', (original) => {
      return function (this: Replicator, peer, tuple, bytes) {
        original.call(this, peer, tuple, bytes)
        const delta = deltaFromTuple(tuple)
        const { ports } = this as unknown as { ports: ReplicatorPorts }
        const partition = ports.partitions.get(delta.partition)
        const state = partition?.replica(delta.replica)
        if (state !== undefined && delta.to < state.known && partition?.ownReplica !== state)
          state.known = delta.to
      }
    })
  },
}

const noRepair: Mutant = {
  name: 'a-lost-delta-is-never-repaired',
  invariant: 'C2',
  withinSeeds: 20,
  apply(run) {
    let deltas = 0
    run.override(Replicator.prototype, 'onDelta', (original) => {
      return function (this: Replicator, peer, tuple, bytes) {
        if (++deltas % 10 !== 0) original.call(this, peer, tuple, bytes)
      }
    })
    run.override(Replicator.prototype, 'exchangeDigests', () => {
      return () => undefined
    })
  },
}

const stateChanged: Mutant = {
  name: 'state-changed-behind-its-back',
  invariant: 'A1',
  withinSeeds: 10,
  apply(run) {
    run.override(MeshAuditor.prototype, 'auditMesh', (original) => {
      return function (this: MeshAuditor, options) {
        for (const { node } of run.cluster.servers) {
          const core = node && coreOf(node)
          // Of another server, so that no sum of the auditor's own gives it away.
          if (core && core.auditor !== this && addOneItem(core.partition('')!)) break
        }
        return original.call(this, options)
      }
    })
  },
}

/** In one cell and in all that is kept beside it, but for the checksum: as a wrong merge would. */
function addOneItem({ table }: Partition): boolean {
  for (let cell = 0; cell < table.cellEntry.length; cell++) {
    const entry = table.entryOf(cell)
    if (entry < 0 || table.namespaceOf(entry).kind !== CellKind.counter) continue
    const value = table.counterValue(cell)
    table.mergeCounter(cell, table.numberOf(cell), { ...value, deposited: addQuantities(value.deposited, 1) })
    return true
  }
  return false
}

export const replicationMutants: readonly Mutant[] = [
  mergeAdds,
  gapSwallowed,
  vectorGoesBack,
  noRepair,
  stateChanged,
]
