const PREFIX = 'chest-'

/** What builders send from chest to chest: what blocks of the loot table drop. A stack at a time. */
export const CARGOES: readonly string[] = ['cobblestone', 'raw_iron', 'raw_copper', 'coal'].map(
  (name) => `minecraft:${name}`,
)

/** The storage of a builder's anchor. Players keep away from these: transfers move what is in them. */
export function chestOf(serverId: string, number: number): string {
  return `${PREFIX}${serverId}-${number}`
}

export function isChest(storage: string): boolean {
  return storage.startsWith(PREFIX)
}
