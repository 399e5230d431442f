import gameItems from './game-items.json' with { type: 'json' }

/** What a block or an entity may drop. */
export interface Drop {
  readonly item: string
  /** 0 to 1. */
  readonly chance: number
  readonly min: number
  readonly max: number
}

export interface LootSource {
  /** Namespaced id of the block or entity. */
  readonly name: string
  readonly drops: readonly Drop[]
}

/** Real ids, stack sizes and drop chances; `game-items.json` names its source and licence. */
export const LOOT_DATA_SOURCE: string = gameItems.source

const DEFAULT_STACK_SIZE = 64

/** Blocks that drop something. The source marks a few amounts as unknown with -1 or 0; these are left out. */
export const BLOCKS: readonly LootSource[] = withDrops(
  gameItems.blockLoot.map(({ block, drops }) => ({ name: block, drops })),
)

export const ENTITIES: readonly LootSource[] = withDrops(
  gameItems.entityLoot.map(({ entity, drops }) => ({ name: entity, drops })),
)

const stackSizes = new Map(gameItems.items.map(({ id, stackSize }) => [id, stackSize]))

/** How many of an item a player carries in one slot; a few drops are not in the item table. */
export function stackSizeOf(item: string): number {
  return stackSizes.get(item) ?? DEFAULT_STACK_SIZE
}

function withDrops(sources: readonly LootSource[]): LootSource[] {
  const known = sources.map(({ name, drops }) => ({ name, drops: drops.filter(({ min }) => min >= 1) }))
  return known.filter(({ drops }) => drops.length > 0)
}
