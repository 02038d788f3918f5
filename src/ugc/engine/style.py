"""The look of the report: system fonts, white space, hairlines, one accent; light, dark, phone and paper."""

from __future__ import annotations

COLOURS = {  # name -> light, dark; the series are told apart by people who do not tell red from green
    "paper": ("#fdfdfc", "#16171a"),
    "ink": ("#1d1f23", "#e4e5e7"),
    "soft": ("#6a6e76", "#9ea2aa"),
    "hair": ("#dcdde0", "#34373d"),
    "ghost": ("#e6e7ea", "#2b2e34"),
    "accent": ("#0067b1", "#5cb3f2"),
    "series2": ("#d0570c", "#f5935a"),
    "series3": ("#0a8f6b", "#45c79f"),
    "series4": ("#9c4f86", "#d691c3"),
    "series5": ("#8d6e00", "#d3b03d"),
}
LIGHT = {name: light for name, (light, _) in COLOURS.items()}
SERIES = tuple(LIGHT[name] for name in ("accent", "series2", "series3", "series4", "series5"))


def _variables(index: int) -> str:
    return "".join(f"--{name}:{pair[index]};" for name, pair in COLOURS.items())


CSS = f"""
:root{{color-scheme:light dark;{_variables(0)}}}
@media screen and (prefers-color-scheme:dark){{:root{{{_variables(1)}}}}}
""" + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
 "Helvetica Neue",Arial,"Noto Sans","Noto Sans CJK SC",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:1160px;margin:0 auto;padding:64px 24px 96px}
h1{font-size:15px;font-weight:600;margin:0 0 14px;color:var(--soft);letter-spacing:.01em}
.verdict{font-size:clamp(21px,3.1vw,31px);line-height:1.32;font-weight:500;letter-spacing:-.012em;margin:0;max-width:31em;
 text-wrap:pretty}
.verdict b{font-weight:650;color:var(--accent)}
.open{margin:20px 0 0;padding-left:14px;border-left:3px solid var(--series2);max-width:46em}
section{margin-top:64px}
h2{font-size:20px;font-weight:600;line-height:1.3;letter-spacing:-.008em;margin:0 0 6px}
h3{font-size:14px;font-weight:600;margin:28px 0 8px}
p{margin:6px 0;max-width:46em}
.soft,figcaption,.notes{color:var(--soft);font-size:14px}
.lead{color:var(--soft);font-size:14px;margin-bottom:20px}
a{color:var(--accent)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:8px 56px}
dl{margin:0}
dl>div{display:grid;grid-template-columns:8.2em 1fr;gap:12px;padding:6px 0;font-size:15px;
 border-bottom:1px solid var(--hair)}
dt{color:var(--soft)}
dd{margin:0}
ul.notes{margin:20px 0 0;padding-left:18px;max-width:50em}
ul.notes li{margin:3px 0}
.wide{overflow-x:auto;margin:0 -24px;padding:0 24px}
table{border-collapse:collapse;font-size:15px;width:100%}
th,td{padding:7px 0 7px 18px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--hair)}
th:first-child,td:first-child{text-align:left;padding-left:0;position:sticky;left:-24px;background:var(--paper);
 overflow-wrap:normal}
thead th{font-weight:500;color:var(--soft);font-size:13px;vertical-align:bottom;line-height:1.35}
thead th[title]{cursor:help}
thead span{display:block;font-weight:400}
tbody th{font-weight:400}
tbody tr.student th,tbody tr.student td{font-weight:650}
tbody tr.student th{color:var(--accent)}
tbody tr.rest th,tbody tr.rest td{color:var(--soft)}
tbody tr.gap th,tbody tr.gap td{padding-top:20px}
td .ends{display:block;font-size:12px;font-weight:400;color:var(--soft)}
td.x{color:var(--soft);padding-left:8px}
.none{color:var(--soft);font-weight:400}
.foot{font-size:13px;color:var(--soft);margin-top:12px;max-width:none;columns:2 420px;column-gap:48px}
.foot p{margin:0 0 3px;break-inside:avoid;max-width:none}
.samples{display:grid;gap:6px 40px;grid-template-columns:minmax(0,var(--card))}
.sample{display:grid;grid-template-columns:repeat(var(--columns),minmax(0,1fr));gap:6px;width:100%;max-width:var(--card);
 break-inside:avoid}
.sample span{font-size:13px;color:var(--soft);line-height:1.9}
.sample span.student{color:var(--accent);font-weight:600}
.sample img{width:100%;height:auto;display:block;background:#fff;outline:1px solid var(--hair);outline-offset:-1px}
.crisp img,img.crisp{image-rendering:pixelated}
.sample.head.more{display:none}
@media (min-width:1160px){.samples.pair{grid-template-columns:repeat(2,minmax(0,var(--card)))}
 .samples.pair .sample.head.more{display:grid}}
figure{margin:0;break-inside:avoid}
figcaption{margin-bottom:2px}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-family:inherit!important}
.arch svg{min-width:var(--least);max-width:var(--most)}
.pareto svg{min-width:480px;max-width:720px}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:18px 28px}
details{border-top:1px solid var(--hair);padding:10px 0;font-size:15px}
.foot+details,.curves+details,.arch+details,p+details{margin-top:20px}
details:last-of-type{border-bottom:1px solid var(--hair)}
summary{cursor:pointer;color:var(--ink)}
summary:hover{color:var(--accent)}
details[open]>summary{margin-bottom:12px}
.strip{display:flex;gap:20px;overflow-x:auto;padding-bottom:8px}
.strip figure{flex:0 0 auto}
.strip img{display:block;max-width:min(78vw,640px);height:auto;background:#fff}
.keys{columns:auto 6.5em;font-size:14px;line-height:1.5}
.keys.long{columns:auto 20em}
.keys span{display:block;break-inside:avoid}
.pairs{columns:2 420px;column-gap:48px;font:13px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.pairs div{display:flex;justify-content:space-between;gap:16px;break-inside:avoid;border-bottom:1px solid var(--hair)}
.pairs span:first-child{flex:0 0 auto;max-width:60%;color:var(--soft)}
.pairs span:last-child{text-align:right}
footer{margin-top:64px;color:var(--soft);font-size:13px}
@media (max-width:560px){
 main{padding:32px 20px 64px}
 section{margin-top:48px}
 .wide{margin:0 -20px;padding:0 20px}
 th,td{padding-left:12px;font-size:14px}th:first-child{left:-20px;max-width:8.5em;white-space:normal;padding-left:0}
 thead th{font-size:12px}
 dl>div{grid-template-columns:6.4em 1fr}
 .samples{gap:4px}.sample{gap:4px}
}
@media print{
 body{font-size:12px;background:none}main{max-width:none;padding:0}section{margin-top:28px}.wide{overflow:visible}
 .two,.samples.pair{grid-template-columns:1fr 1fr}.samples.pair .sample.head.more{display:grid}
 h2,h3,.lead,figcaption{break-after:avoid}.curves{grid-template-columns:repeat(3,1fr)}
 .strip{flex-wrap:wrap}
}
"""
