import { type ChangeListener, Partition } from '../crdt/partition.js'

/** Name of the partition that every server hosts. */
export const SHARED_PARTITION = ''

/** A world's partition is named after it with a prefix, so that no world can be mistaken for another kind. */
export function partitionOfWorld(world: string): string {
  return `world:${world}`
}

/** Undefined for the shared partition. */
export function worldOfPartition(name: string): string | undefined {
  return name === SHARED_PARTITION ? undefined : name.slice('world:'.length)
}

/** The partitions hosted here: the shared one, the configured worlds, and whatever the journal has. */
export class Partitions {
  readonly byName = new Map<string, Partition>()

  constructor(private readonly onChange: (partition: Partition, entry: number) => void) {}

  get shared(): Partition {
    return this.host(SHARED_PARTITION)
  }

  host(name: string): Partition {
    let partition = this.byName.get(name)
    if (!partition) {
      const listener: ChangeListener = (entry) => this.onChange(this.byName.get(name)!, entry)
      partition = new Partition(name, listener)
      this.byName.set(name, partition)
    }
    return partition
  }
}
