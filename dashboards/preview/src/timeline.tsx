// The panel state-timeline, which @grafana/ui does not export. Drawn to look like it, without a legend.
import { colorManipulator, dateTimeFormat, FieldType, formattedValueToString, getFieldDisplayName, type Field } from '@grafana/data';
import type { Drawing } from './panels';

const AXIS = 24; // pixels below the rows for the times
const FONT = 12;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

interface Box {
  from: number;
  to: number;
  text: string;
  color: string;
}

export function Timeline({ panel, frames, theme, timeRange, width, height }: Drawing) {
  const { options } = panel;
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const rows = frames.flatMap((frame) => {
    const time = frame.fields.find((field) => field.type === FieldType.time)!;
    const values = frame.fields.filter((field) => field !== time);
    return values.map((field) => ({ field, name: getFieldDisplayName(field, frame, frames), times: time.values }));
  });
  const shown = rows.slice(0, options.perPage ?? 20);
  const left = Math.min(width / 3, Math.max(...shown.map((row) => measure(row.name, theme))) + 10);
  const x = (time: number) => left + ((Math.max(from, Math.min(to, time)) - from) / (to - from)) * (width - left - 8);
  const line = (height - AXIS) / shown.length;
  const tall = line * (options.rowHeight ?? 0.9);
  const label = { fill: theme.colors.text.primary, fontSize: FONT, fontFamily: theme.typography.fontFamily };
  return (
    <svg width={width} height={height} style={{ display: 'block' }}>
      {ticks(from, to, width - left).filter((tick) => x(tick) < width - 24).map((tick) => (
        <text key={tick} x={x(tick)} y={height - 6} textAnchor="middle" {...label}>
          {dateTimeFormat(tick, { timeZone: 'utc', format: to - from < 300000 ? 'HH:mm:ss' : 'HH:mm' })}
        </text>
      ))}
      {shown.map(({ field, name, times }, row) => (
        <g key={row}>
          <text x={left - 8} y={(row + 0.5) * line + FONT / 3} textAnchor="end" {...label}>
            {name}
          </text>
          {boxes(field, times, to, options.mergeValues ?? true).map((box) => {
            const [begin, wide] = [x(box.from), x(box.to) - x(box.from)];
            const fill = colorManipulator.alpha(box.color, (field.config.custom?.fillOpacity ?? 70) / 100);
            const fits = options.showValue !== 'never' && measure(box.text, theme) + 4 < wide;
            return (
              <g key={box.from}>
                <rect x={begin} y={row * line + (line - tall) / 2} width={wide} height={tall} fill={fill} />
                {(fits || options.showValue === 'always') && (
                  <text
                    x={options.alignValue === 'left' ? begin + 4 : begin + wide / 2}
                    y={(row + 0.5) * line + FONT / 3}
                    textAnchor={options.alignValue === 'left' ? 'start' : 'middle'}
                    {...label}
                    fill={theme.colors.getContrastText(box.color, 3)}
                  >
                    {box.text}
                  </text>
                )}
              </g>
            );
          })}
        </g>
      ))}
    </svg>
  );
}

/** A field's values as boxes that extend to the next value; a missing value is a gap. */
function boxes(field: Field, times: number[], end: number, merge: boolean): Box[] {
  const made: Box[] = [];
  times.forEach((from, i) => {
    if (field.values[i] !== null && field.values[i] !== undefined) {
      const value = field.display!(field.values[i]);
      const [text, color] = [formattedValueToString(value), value.color];
      const to = times[i + 1] ?? end;
      const last = made.at(-1);
      if (merge && last?.to === from && last.text === text && last.color === color) {
        last.to = to;
      } else {
        made.push({ from, to, text, color: color! });
      }
    }
  });
  return made;
}

function ticks(from: number, to: number, width: number): number[] {
  const least = ((to - from) / width) * 80;
  const step = (STEPS.find((seconds) => seconds * 1000 >= least) ?? 86400) * 1000;
  const first = Math.ceil(from / step) * step;
  return Array.from({ length: Math.floor((to - first) / step) + 1 }, (_, i) => first + i * step);
}

const canvas = document.createElement('canvas').getContext('2d')!;

function measure(text: string, theme: Drawing['theme']): number {
  canvas.font = `${FONT}px ${theme.typography.fontFamily}`;
  return canvas.measureText(text).width;
}
