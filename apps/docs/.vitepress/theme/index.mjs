// VitePress's own theme with the system's fonts, and colours for figures.
import DefaultTheme from "vitepress/theme-without-fonts";
import "./style.css";

export default DefaultTheme;
