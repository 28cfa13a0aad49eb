"""How the queue's table is drawn: its columns, and the template of a row (Vue, over what ``rows.row_of`` gives)."""

from __future__ import annotations

from typing import Any, Final


def _column(name: str, label: str, align: str = "left") -> dict[str, Any]:
    return {"name": name, "label": label, "field": name, "align": align}


COLUMNS: Final = [
    _column("priority", "Priority"),
    _column("level", "Level"),
    _column("title", "Alert"),
    _column("where", "Where"),
    _column("partners", "Partners"),
    _column("who", "Who has it"),
    _column("events", "Events", "right"),
    _column("tlp", "TLP"),
    _column("raised", "Age", "right"),
]

ROW: Final = """
<q-tr :props="props" :data-id="props.row.id" :class="{'is-held-back': props.row.marks, 'is-new': props.row.new}">
  <q-td key="priority" :props="props">
    <span :class="'priority priority-' + props.row.priority" :title="props.row.why">{{ props.row.priority }}</span>
  </q-td>
  <q-td key="level" :props="props">
    <span :class="'level level-' + props.row.level"><q-icon :name="props.row.icon" />{{ props.row.level }}</span>
  </q-td>
  <q-td key="title" :props="props" class="about">
    <a class="story" :href="'/alerts/' + encodeURIComponent(props.row.id)"
      :aria-description="props.row.priority + ': ' + props.row.why">{{ props.row.title }}</a>
    <span v-if="props.row.exercise" class="chip exercise"><q-icon name="fitness_center" />EXERCISE</span>
    <span v-if="props.row.new" class="chip good"><q-icon name="fiber_new" />new</span>
    <span v-if="props.row.marks" class="chip soft"><q-icon name="notifications_off" />{{ props.row.marks }}</span>
    <span v-if="props.row.merged" class="chip soft"><q-icon name="call_merge" />{{ props.row.merged }} merged</span>
    <span v-if="props.row.notes" class="chip soft"><q-icon name="sticky_note_2" />{{ props.row.notes }}
      {{ props.row.notes === 1 ? 'note' : 'notes' }}</span>
    <div class="soft">{{ props.row.story }}</div>
    <div class="why" aria-hidden="true">Why {{ props.row.priority }}: {{ props.row.why }}</div>
  </q-td>
  <q-td key="where" :props="props">{{ props.row.where }}</q-td>
  <q-td key="partners" :props="props">{{ props.row.partners }}</q-td>
  <q-td key="who" :props="props">
    <span :class="{soft: !props.row.who}">{{ props.row.who || 'nobody' }}</span>
    <div class="soft">{{ props.row.state }}<template v-if="props.row.until">,
      <time class="left" :datetime="props.row.until"></time></template></div>
  </q-td>
  <q-td key="events" :props="props">{{ props.row.events }}</q-td>
  <q-td key="tlp" :props="props"><span class="tlp">{{ props.row.tlp }}</span></q-td>
  <q-td key="raised" :props="props"><time class="age" :datetime="props.row.raised"></time></q-td>
</q-tr>
"""
